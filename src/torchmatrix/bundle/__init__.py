"""Bundles: everything to rebuild a cell offline in one tar archive, equal to the byte for equal lockfiles.

`texts` are the small files that a record gives, `contents` says what is in a bundle, `archive` is the tar format,
`write` and `read` make and open one, `rebuild` builds.
"""
