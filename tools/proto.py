"""Generate core/src/meshloom/rpc from core/proto, or say with --check what is not as it would be generated.

Usage: python tools/proto.py [--check]   (needs grpcio-tools, as the dependency group `proto` pins it)

The generator's version is the oldest that the generated code runs on, so that core's ranges of grpcio and protobuf
hold.
"""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
SOURCES, CODE = ROOT / "core" / "proto", ROOT / "core" / "src"


def generate(into: Path) -> list[Path]:
    """The generated files, relative to the folder."""
    sources = sorted(str(file.relative_to(SOURCES)) for file in SOURCES.rglob("*.proto"))
    outputs = [f"--{kind}_out={into}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{SOURCES}", f"-I{files('grpc_tools') / '_proto'}", *outputs, *sources]):
        raise SystemExit("protoc failed")
    return [file.relative_to(into) for file in sorted(into.rglob("*_pb2*.py*"))]


def stale() -> list[Path]:
    """Committed files that differ from what would be generated, are missing, or have no source."""
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
        committed = [file.relative_to(CODE) for file in CODE.rglob("*_pb2*.py*") if "__pycache__" not in file.parts]
        return sorted(
            file
            for file in {*made, *committed}
            if file not in made
            or file not in committed
            or (Path(folder) / file).read_text() != (CODE / file).read_text()
        )


def main(*arguments: str) -> int:
    """Exit status 1 where a check finds something."""
    if arguments != ("--check",):
        generate(CODE)
        return 0
    for file in (found := stale()):
        print(f"core/src/{file}: not as generated from core/proto; run make proto", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
