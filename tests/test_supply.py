"""What a fresh install takes: bounds on every direct dependency, and a version of each package that all tests passed with."""

import tomllib
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .processes import CHECKOUT

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DIRECT = [
    Requirement(line) for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
]


def _versions() -> dict[str, str]:
    lines = (CHECKOUT / ".ci" / "constraints.txt").read_text().splitlines()
    pinned = [line.partition("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, _, version in pinned}


def test_every_direct_dependency_has_bounds_that_the_tested_version_keeps() -> None:
    """A next major version is not installed unseen; only types of a library have no bounds."""
    versions = _versions()
    for requirement in DIRECT:
        if requirement.name.startswith("types-"):
            continue
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">=", "<"}, requirement
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)], prereleases=True), (
            requirement
        )


def test_the_tested_versions_are_of_all_that_an_install_brings() -> None:
    """A package that is missing would be as new as the day of the install."""
    versions, missing, seen = _versions(), set(), set()
    left = list(DIRECT)
    while left:
        requirement = left.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        if key[0] not in versions:
            missing.add(key[0])
        try:
            lines = requires(requirement.name) or []
        except PackageNotFoundError:
            continue
        for line in lines:
            found = Requirement(line)
            if found.marker is None or any(
                found.marker.evaluate({"extra": extra}) for extra in [*requirement.extras, ""]
            ):
                left.append(found)
    assert missing <= {"setuptools"}
