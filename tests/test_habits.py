"""What a project of this kind is expected to have: license lines, a citation, a changelog, policies, images."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from adaptface_jax.core.version import __version__

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted((ROOT / "docker").iterdir())
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version():
    """The keys that the Citation File Format 1.2.0 requires, and the ones that archives take."""
    cited = yaml.safe_load(read("CITATION.cff"))
    assert cited["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= set(cited)
    assert str(cited["version"]) == __version__ and cited["license"] == "Apache-2.0"
    assert f"## [{__version__}] - {cited['date-released']}" in read("CHANGELOG.md")


def test_the_changelog_has_a_section_for_each_version_and_one_for_what_comes():
    """As Keep a Changelog has it: the newest first, Unreleased above it."""
    titles = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert titles[0] == "[Unreleased]" and titles[1].startswith(f"[{__version__}] - ")
    found = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\](?: - \d{4}-\d\d-\d\d)?", title) for title in titles[1:]]
    versions = [tuple(map(int, match.groups())) for match in found]
    assert versions == sorted(versions, reverse=True)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", read("CHANGELOG.md"), re.MULTILINE)) <= kinds


def test_the_pages_of_the_project_name_files_that_are_there():
    for name in ("CONTRIBUTING.md", "SECURITY.md", "examples/README.md"):
        page = ROOT / name
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        assert all((page.parent / link).exists() for link in links), name
    targets = {word for line in re.findall(r"`make ([a-z -]+)`", read("CONTRIBUTING.md")) for word in line.split()}
    assert targets and all(re.search(rf"^{target}:", read("Makefile"), re.MULTILINE) for target in targets)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= set(form)
    asked = [item for item in form["body"] if item["type"] != "markdown"]
    assert len({item["id"] for item in asked}) == len(asked) and all(item["attributes"]["label"] for item in asked)
    assert any(item.get("validations", {}).get("required") for item in asked)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.suffix[1:])
def test_an_image_runs_as_a_plain_user_and_keeps_no_caches(path):
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert [words for step, words in steps if step == "USER"][-1] == "1000"
    installs = [words for step, words in steps if step == "RUN" and "pip" in words]
    assert installs and all("--no-cache-dir" in words for words in installs)
    assert not [words for step, words in steps if "apt-get install" in words and "--no-install-recommends" not in words]
    assert not [words for step, words in steps if step == "ADD"]
