"""Bundles: everything to rebuild a cell offline in one tar archive, equal to the byte for equal lockfiles.

`contents` says what is in one, `archive` is the tar format, `write` and `read` make and open one, `rebuild` builds.
"""
