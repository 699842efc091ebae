"""Which nightlies are complete, and what is said where they are not."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torchmatrix.sources.nightlies import Days, day_of, days, fits, missing_words, nearest
from torchmatrix.sources.pages import Listed, project_and_version
from torchmatrix.target import Accelerator, Platform, PythonVersion, Target, wheel_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.tags import Tag

LINUX, ARM, MACOS = "manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "macosx_14_0_arm64"
WHERE = "Python 3.11 on linux-64 cu126"
FIRST = dt.date(2026, 9, 22)
NUMBERS = {"torch": "2.14.0", "torchvision": "0.29.0", "torchaudio": "2.12.0"}


def tags(platform: str = "linux-64", accelerator: str = "cu126", python: str = "3.11") -> Mapping[Tag, int]:
    target = Target(name="x", platform=Platform(platform), accelerator=Accelerator.parse(accelerator))
    return wheel_tags(target, PythonVersion.parse(python))


def nightly(
    name: str,
    day: str | dt.date,
    local: str = "cu126",
    *,
    python: str = "311",
    platform: str = LINUX,
    number: str | None = None,
    yanked: str | None = None,
) -> Listed:
    text = f"{number or NUMBERS[name]}.dev{str(day).replace('-', '')}{'+' if local else ''}{local}"
    file = f"{name}-{text}-cp{python}-cp{python}-{platform}.whl"
    found, version = project_and_version(file)
    return Listed(file=file, url=f"https://x.example/{file}", name=found, version=version, yanked=yanked)


def pages(*files: Listed, also: Sequence[str] = ("torch", "torchvision")) -> dict[str, list[Listed]]:
    found: dict[str, list[Listed]] = {name: [] for name in also}
    for file in files:
        assert file.name
        found.setdefault(file.name, []).append(file)
    return found


def both(day: str | dt.date, local: str = "cu126", **more: str) -> list[Listed]:
    return [nightly(name, day, local, **more) for name in ("torch", "torchvision")]


def on(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def sort(files: Mapping[str, Sequence[Listed]], local: str | None = "cu126") -> Days:
    return days(files, cell_tags=tags(), local=local)


# dates in versions


@pytest.mark.parametrize(
    ("version", "day"),
    [
        ("2.14.0.dev20261118+cu126", "2026-11-18"),
        ("2.14.0.dev20261118", "2026-11-18"),
        ("1.0.0.dev20181206", "2018-12-06"),
        ("2.16.0.dev20280229", "2028-02-29"),
        ("2.14.0.dev20270229", None),
        ("2.14.0.dev20261332", None),
        ("2.14.0.dev20260001", None),
        ("2.14.0.dev10101010", None),
        ("2.14.0.dev2026111", None),
        ("2.14.0.dev202611180", None),
        ("2.14.0.dev0", None),
        ("2.14.0.dev5", None),
        ("2.14.0", None),
        ("2.14.0a0+git20261118", None),
        ("2.14.0.post20261118", None),
    ],
)
def test_the_date_in_a_version(version: str, day: str | None) -> None:
    assert day_of(Version(version)) == (on(day) if day else None)


@given(st.dates(dt.date(2016, 1, 1), dt.date(9999, 12, 31)), st.sampled_from(["", "+cpu", "+cu126", "+rocm6.4"]))
def test_every_date_is_read_back(day: dt.date, local: str) -> None:
    assert day_of(Version(f"2.14.0.dev{day:%Y%m%d}{local}")) == day


# complete days


def test_complete_and_incomplete_days() -> None:
    found = sort(pages(*both("2026-11-16"), *both("2026-11-18"), nightly("torch", "2026-11-17")))
    assert [day.day for day in found.complete] == [on("2026-11-18"), on("2026-11-16")]
    assert found.complete[0].versions == {
        "torch": Version("2.14.0.dev20261118+cu126"),
        "torchvision": Version("0.29.0.dev20261118+cu126"),
    }
    assert found.complete[0].alternatives == {}
    assert found.incomplete == {on("2026-11-17"): ("torchvision",)}
    assert found.window == (on("2026-11-16"), on("2026-11-18"))


def test_torch_alone_needs_torch_alone() -> None:
    found = days(pages(nightly("torch", "2026-11-18"), also=["torch"]), cell_tags=tags(), local="cu126")
    assert [day.versions for day in found.complete] == [{"torch": Version("2.14.0.dev20261118+cu126")}]


@pytest.mark.parametrize(
    "replacement",
    [
        nightly("torchvision", "2026-11-18", "cpu"),
        nightly("torchvision", "2026-11-18", ""),
        nightly("torchvision", "2026-11-18", "cu126.full"),
        nightly("torchvision", "2026-11-18", python="312"),
        nightly("torchvision", "2026-11-18", python="311t"),
        nightly("torchvision", "2026-11-18", platform=ARM),
        nightly("torchvision", "2026-11-18", platform="manylinux_2_39_x86_64"),
        nightly("torchvision", "2026-11-18", yanked=""),
        nightly("torchvision", "2026-11-17"),
        nightly("torchvision", "2026-11-18", python="3.11"),  # a tag that is none
    ],
    ids=lambda file: f"{file.file}{file.yanked}",
)
def test_a_wheel_that_does_not_fit_completes_no_day(replacement: Listed) -> None:
    found = sort(pages(nightly("torch", "2026-11-18"), replacement))
    assert found.complete == ()
    assert found.incomplete[on("2026-11-18")] == ("torchvision",)


def test_the_same_wheels_fit_once_all_is_right() -> None:
    assert sort(pages(*both("2026-11-18"))).complete


def test_sdists_releases_and_files_of_others_do_not_count() -> None:
    name, version = project_and_version("torchvision-0.29.0.dev20261118+cu126.tar.gz")
    sdist = Listed(file="torchvision-0.29.0.dev20261118+cu126.tar.gz", url="x", name=name, version=version)
    release = f"torchvision-0.29.0+cu126-cp311-cp311-{LINUX}.whl"
    stable = Listed(file=release, url="x", name="torchvision", version=Version("0.29.0+cu126"))
    neither = Listed(file="README", url="x")
    other = nightly("torchaudio", "2026-11-18")
    files = {"torch": [nightly("torch", "2026-11-18")], "torchvision": [sdist, stable, neither, other]}
    assert sort(files).incomplete == {on("2026-11-18"): ("torchvision",)}


def test_a_flat_folder_may_stand_for_every_page() -> None:
    folder = [*both("2026-11-18"), nightly("torchaudio", "2026-11-17")]
    found = sort({"torch": folder, "torchvision": folder})
    assert [day.day for day in found.complete] == [on("2026-11-18")]
    assert found.incomplete == {}


def test_torch_missing_is_named_first() -> None:
    found = sort(pages(nightly("torchaudio", "2026-11-18"), also=["torchaudio", "torchvision", "torch"]))
    assert found.incomplete == {on("2026-11-18"): ("torch", "torchvision")}
    assert found.window is None


def test_wheels_for_macos_have_no_local_version() -> None:
    macos = [nightly(name, "2026-11-18", "", platform=MACOS) for name in ("torch", "torchvision")]
    linux = both("2026-11-18", "cpu")
    for local in (None, ""):
        found = days(pages(*linux, *macos), cell_tags=tags("osx-arm64", "mps"), local=local)
        assert [str(version) for version in found.complete[0].versions.values()] == [
            "2.14.0.dev20261118",
            "0.29.0.dev20261118",
        ]


def test_a_companion_of_a_cpu_torch_may_have_no_local_version() -> None:
    torch = nightly("torch", "2026-11-18", "cpu", platform=ARM)
    plain = nightly("torchvision", "2026-11-18", "", platform=ARM)
    labelled = nightly("torchvision", "2026-11-18", "cpu", platform=ARM)
    cell = tags("linux-aarch64", "cpu")
    (day,) = days(pages(torch, plain), cell_tags=cell, local="cpu").complete
    assert day.versions["torchvision"] == plain.version
    (day,) = days(pages(torch, plain, labelled), cell_tags=cell, local="cpu").complete
    assert day.versions["torchvision"] == labelled.version
    without = nightly("torch", "2026-11-18", "", platform=ARM)
    assert days(pages(without, plain), cell_tags=cell, local="cpu").incomplete == {on("2026-11-18"): ("torch",)}


def test_around_a_branch_cut_the_highest_version_wins_and_the_other_is_kept() -> None:
    newer = nightly("torch", "2026-11-18", number="2.15.0")
    newest_but_wrong = nightly("torch", "2026-11-18", "cpu", number="2.16.0")
    for files in ((*both("2026-11-18"), newer, newest_but_wrong), (newest_but_wrong, newer, *both("2026-11-18"))):
        (day,) = sort(pages(*files)).complete
        assert day.versions["torch"] == newer.version
        assert day.alternatives == {"torch": (Version("2.14.0.dev20261118+cu126"),)}


def test_a_version_with_several_wheels_is_no_alternative() -> None:
    old = nightly("torch", "2026-11-18", platform="manylinux_2_17_x86_64")
    (day,) = sort(pages(*both("2026-11-18"), old)).complete
    assert day.alternatives == {}


def test_a_requested_version_decides() -> None:
    files = pages(*both("2026-11-18"), *both("2026-11-17"), nightly("torch", "2026-11-18", number="2.15.0"))

    def complete(requested: dict[str, SpecifierSet]) -> list[tuple[dt.date, str]]:
        found = days(files, cell_tags=tags(), local="cu126", requested=requested)
        return [(day.day, day.versions["torch"].public) for day in found.complete]

    assert complete({"torch": SpecifierSet("<2.15.0.dev0")}) == [
        (on("2026-11-18"), "2.14.0.dev20261118"),
        (on("2026-11-17"), "2.14.0.dev20261117"),
    ]
    assert complete({"torchvision": SpecifierSet("==0.29.0.dev20261117")}) == [(on("2026-11-17"), "2.14.0.dev20261117")]
    assert complete({"torchvision": SpecifierSet(">=0.30")}) == []


@given(
    holes=st.sets(st.tuples(st.sampled_from(["torch", "torchvision", "torchaudio"]), st.integers(0, 59)), max_size=150),
    shift=st.integers(0, 5),
)
def test_a_window_of_60_with_holes(holes: set[tuple[str, int]], shift: int) -> None:
    every = [FIRST + dt.timedelta(number) for number in range(60)]
    files = pages(
        *(
            nightly(name, day, python="312" if (name, number) in holes else "311")
            for name in NUMBERS
            for number, day in enumerate(
                every[shift if name == "torchaudio" else 0 :], shift if name == "torchaudio" else 0
            )
        )
    )
    lacking = {name: {every[number] for each, number in holes if each == name} for name in NUMBERS}
    lacking["torchaudio"] |= set(every[:shift])
    found = sort(files)
    complete = [day.day for day in found.complete]
    assert complete == sorted(set(every) - set().union(*lacking.values()), reverse=True)
    assert sorted([*complete, *found.incomplete]) == every
    assert found.window == (every[0], every[-1])
    for day, names in found.incomplete.items():
        assert set(names) == {name for name in NUMBERS if day in lacking[name]}
        words = missing_words(found, day, where=WHERE)
        assert words.startswith(f"no nightly of {day} has ")
        assert all(str(near) in words for near in nearest(found, day))
    for whole in found.complete:
        assert {day_of(version) for version in whole.versions.values()} == {whole.day}


# nearest days


def test_nearest_days_on_both_sides_the_earlier_first() -> None:
    found = sort(pages(*(file for day in ("11-10", "11-16", "11-18", "11-25") for file in both(f"2026-{day}"))))
    assert nearest(found, on("2026-11-17")) == (on("2026-11-16"), on("2026-11-18"), on("2026-11-10"))
    assert nearest(found, on("2026-11-17"), 1) == (on("2026-11-16"),)
    assert nearest(found, on("2027-01-01"), 2) == (on("2026-11-25"), on("2026-11-18"))
    assert nearest(found, on("2026-11-18"), 1) == (on("2026-11-18"),)
    assert nearest(sort(pages()), on("2026-11-18")) == ()


# words


@pytest.fixture
def window() -> Days:
    every = [FIRST + dt.timedelta(number) for number in range(60)]
    every.remove(on("2026-10-10"))
    vision = [day for day in every if day not in (on("2026-11-18"), on("2026-11-19"))]
    audio = [day for day in vision if day > on("2026-11-14")] + [on("2026-11-19")]
    return sort(
        pages(
            *(nightly("torch", day) for day in every),
            *(nightly("torchvision", day) for day in vision),
            *(nightly("torchaudio", day) for day in audio),
        )
    )


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            "2026-11-19",
            (
                "no nightly of 2026-11-19 has torchvision for Python 3.11 on linux-64 cu126; "
                "nearest complete days: 2026-11-20, 2026-11-17, 2026-11-16"
            ),
        ),
        (
            "2026-11-18",
            (
                "no nightly of 2026-11-18 has torchaudio or torchvision for Python 3.11 on linux-64 cu126; "
                "nearest complete days: 2026-11-17, 2026-11-16, 2026-11-20"
            ),
        ),
        (
            "2026-09-21",
            (
                "the index lists nightlies from 2026-09-22 to 2026-11-20 only (it keeps the newest 60); "
                "nearest complete days: 2026-11-15, 2026-11-16, 2026-11-17"
            ),
        ),
        (
            "2026-11-21",
            (
                "the index lists nightlies from 2026-09-22 to 2026-11-20 only; "
                "nearest complete days: 2026-11-20, 2026-11-17, 2026-11-16"
            ),
        ),
        (
            "2026-10-10",
            "no nightly of 2026-10-10 is listed; nearest complete days: 2026-11-15, 2026-11-16, 2026-11-17",
        ),
    ],
)
def test_words_for_a_day_that_is_missing(window: Days, wanted: str, words: str) -> None:
    assert missing_words(window, on(wanted), where=WHERE) == words


def test_words_for_one_complete_day_and_another_window(window: Days) -> None:
    found = sort(pages(*both("2026-11-18"), nightly("torch", "2026-11-19")))
    assert missing_words(found, on("2026-11-19"), where=WHERE) == (
        f"no nightly of 2026-11-19 has torchvision for {WHERE}; nearest complete day: 2026-11-18"
    )
    assert "(it keeps the newest 30)" in missing_words(window, on("2025-01-01"), where=WHERE, keep=30)
    alone = sort(pages(*both("2026-11-18")))
    assert missing_words(alone, on("2026-11-19"), where=WHERE) == (
        "the index lists nightlies of 2026-11-18 only; nearest complete day: 2026-11-18"
    )


def test_words_where_no_day_is_complete() -> None:
    files = [nightly("torch", f"2026-11-{day}") for day in (16, 17, 18)]
    lacking = f"no day that the index lists is complete for {WHERE}: torchvision is missing on"
    found = sort(pages(*files))
    assert missing_words(found, None, where=WHERE) == f"{lacking} all 3"
    assert missing_words(found, on("2026-11-17"), where=WHERE) == (
        f"no nightly of 2026-11-17 has torchvision for {WHERE}; {lacking} all 3"
    )
    found = sort(pages(*files[:2], nightly("torch", "2026-11-18", "cpu"), nightly("torchvision", "2026-11-18")))
    assert missing_words(found, None, where=WHERE) == f"{lacking} 2 of 3 and torch is missing on 1 of 3"
    assert missing_words(sort(pages(files[0])), None, where=WHERE) == f"{lacking} the only one"


def test_words_where_torch_has_no_nightly_at_all() -> None:
    for found in (sort(pages()), sort(pages(nightly("torchvision", "2026-11-18")))):
        for wanted in (None, on("2026-11-18")):
            assert missing_words(found, wanted, where=WHERE) == "the index lists no nightly of torch"


def test_nothing_is_said_to_be_missing_where_nothing_is(window: Days) -> None:
    for wanted in (None, on("2026-11-20")):
        with pytest.raises(ValueError, match="2026-11-20 is complete"):
            missing_words(window, wanted, where=WHERE)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("torch-2.14.0.dev20261118+cu126-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("torch-2.14.0.dev20261118+cu126-1-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("torch-2.14.0.dev20261118+cu126-cp310.cp311-cp310.cp311-manylinux_2_28_x86_64.whl", True),
        ("torch-2.14.0.dev20261118+cu126-cp312-cp312-manylinux_2_28_x86_64.whl", False),
        ("torch-2.14.0.dev20261118+cu126-cp311-cp311-manylinux_2_28_aarch64.whl", False),
        ("torch-2.14.0.dev20261118-3.11-none-any.whl", False),
        ("torch-2.14.0.dev20261118+cu126-x-cp311-cp311-manylinux_2_28_x86_64.whl", False),
        ("torch-2.14.0.dev20261118.tar.gz", False),
        ("cp311-cp311-manylinux_2_28_x86_64.whl", False),
    ],
)
def test_what_fits_a_cell(file: str, expected: bool) -> None:
    name, version = project_and_version(file)
    listed = Listed(file=file, url=f"https://x.example/{file}", name=name, version=version)
    assert fits(listed, tags()) is expected
    assert not fits(replace(listed, yanked=""), tags())
