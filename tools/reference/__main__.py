"""Write docs/reference and the list of variables from the code; with --check, say what is not as the code says.

Usage: python tools/reference [--check]
"""

import sys
from pathlib import Path

import code_facts
import command_lines
import configuration
import interfaces
import variables
from workspace import ROOT

FOLDER = ROOT / "docs" / "reference"
PAGES = {
    "configuration.md": configuration.page,
    "command-lines.md": command_lines.page,
    "hooks.md": interfaces.hooks,
    "http-api.md": interfaces.http_api,
    "metrics.md": code_facts.metrics,
    "logs.md": code_facts.logs,
    "errors.md": code_facts.errors,
}
VARIABLES = ROOT / "core/src/meshloom/config/variables.py"
MARK = "<!-- Generated from the code by `make docs`; do not edit. -->\n\n"


def main(*arguments: str) -> int:
    """Exit status 1 where a check finds something."""
    pages = {FOLDER / name: MARK + make().rstrip() + "\n" for name, make in PAGES.items()}
    pages[VARIABLES] = variables.module()
    if arguments == ("--check",):
        wrong = [file for file, text in pages.items() if not file.exists() or file.read_text() != text]
        wrong += [file for file in FOLDER.glob("*.md") if file not in pages and file.read_text().startswith(MARK)]
        for file in wrong:
            print(f"{file.relative_to(ROOT)}: not as the code says; run make docs", file=sys.stderr)
        return int(bool(wrong))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, text in pages.items():
        Path(file).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
