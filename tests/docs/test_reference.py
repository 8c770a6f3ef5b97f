"""The reference says what the code does; what a running server shows is in it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from meshloom.config.environment import OF_TESTS
from meshloom.config.variables import VARIABLES
from meshloom.testing.certificates import make_certificate

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_is_as_the_code_says():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr}\nrun: make docs"


def test_every_page_of_the_documentation_is_linked():
    pages = {file for file in (ROOT / "docs").rglob("*.md") if file != ROOT / "docs" / "README.md"}
    index = (ROOT / "docs" / "README.md").read_text()
    linked = {(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(([^)#]+\.md)\)", index)}
    assert pages == linked


DOCUMENTS = ["README.md", *sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("file", [*DOCUMENTS, "CONTRIBUTING.md"])
def test_no_link_leads_nowhere(file):
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / file).read_text()):
        if "://" not in link:
            assert ((ROOT / file).parent / link).exists(), link


@pytest.mark.parametrize("file", DOCUMENTS)
def test_every_command_of_a_document_is_run_by_a_test(file, blocks):
    """A test that follows a document runs all of it, or fails; here it is seen that each document is followed."""
    languages = [language for language, _ in blocks(file)]
    assert "" not in languages, f"{file}: a block does not say what it is; what is no command is `text`"
    if "sh" in languages:
        tests = "".join(test.read_text() for test in Path(__file__).parent.glob("test_*.py"))
        assert f'document("{file}")' in tests or f"follows({file})" in tests, f"{file} has commands that no test runs"


@pytest.mark.parametrize("file", DOCUMENTS)
def test_every_variable_that_a_document_names_is_read_by_a_program(file):
    named = set(re.findall(r"(?<!_)\bMESHLOOM_[A-Z0-9_]*[A-Z0-9]", (ROOT / file).read_text()))
    assert {name for name in named if not name.startswith(OF_TESTS)} <= VARIABLES


@pytest.mark.parametrize("file", ["docs/reference/differences.md", "docs/explanation/security.md"])
def test_every_difference_from_netbird_and_every_promise_has_a_test(file):
    rows = rows_with_tests(ROOT / file)
    assert rows
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, f"{row}\nnames no test"
        for test_file, test in named:
            found = re.search(rf"^ *(async )?def {test}\(", (ROOT / test_file).read_text(), re.MULTILINE)
            assert found, f"{test_file}::{test}"


@pytest.mark.parametrize("file", DOCUMENTS)
def test_a_page_that_sends_secrets_in_clear_text_says_so_and_leads_to_tls(file, blocks):
    commands = "".join(text for language, text in blocks(file) if language == "sh")
    plain = re.findall(r"http://(?!127\.0\.0\.1|localhost|\[::1\])", commands)
    if plain and re.search(r"--setup-key|Authorization:|Setup-Secret:", commands):
        words = (ROOT / file).read_text()
        assert "clear text" in words
        assert "#with-tls" in words


def rows_with_tests(file):
    """The rows of a document's tables whose last column is the test."""
    tables = re.findall(r"(?:^\|.*\n)+", file.read_text(), re.MULTILINE)
    split = [table.splitlines() for table in tables]
    return [row for head, _, *rows in split if head.endswith("Test |") for row in rows]


def test_the_targets_of_make_that_documents_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for file in (*DOCUMENTS, "CONTRIBUTING.md"):
        named = re.findall(r"(?:^ *|`)make ((?:[a-z]+ ?)+)", (ROOT / file).read_text(), re.MULTILINE)
        assert {word for words in named for word in words.split()} <= targets, file


@pytest.mark.parametrize("file", DOCUMENTS)
def test_configuration_in_documents_is_valid(file, blocks, tmp_path):
    for language, text in blocks(file):
        if language == "toml" and "public_url" in text:
            (tmp_path / "secret").write_text("not known")
            shown = re.sub(r'\{ file = ".*?" \}', f'{{ file = "{tmp_path}/secret" }}', text)
            shown = re.sub(r"/etc/meshloom/(fullchain|privkey).pem", rf"{tmp_path}/\1.pem", shown)
            shown = re.sub(
                r'^((?:listen|stun_alternate_address) = )"[0-9.]+', r'\1"127.0.0.1', shown, flags=re.MULTILINE
            )
            made = make_certificate(tmp_path, "mesh.example.net")
            (tmp_path / "fullchain.pem").write_bytes(made.chain)
            (tmp_path / "privkey.pem").write_bytes(made.key)
            (tmp_path / "server.toml").write_text(shown)
            check = [Path(sys.executable).parent / "meshloom-server", "config", "check", tmp_path / "server.toml"]
            done = subprocess.run(check, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
