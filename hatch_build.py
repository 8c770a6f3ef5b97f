"""The workspace's metadata is the union of its members': one editable install brings all of them."""

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

MEMBERS = ("core", "libraries/*", "plugins/*/*", "services/*")


def member_projects(root: Path) -> list[dict[str, Any]]:
    """The [project] tables of all members, in the order of their folders."""
    files = chain.from_iterable(sorted(root.glob(f"{member}/pyproject.toml")) for member in MEMBERS)
    return [tomllib.loads(file.read_text())["project"] for file in files]


class UnionOfMembers(MetadataHookInterface):
    """Fills in dependencies, scripts and entry points of the workspace."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the metadata as far as pyproject.toml gives it."""
        projects = member_projects(Path(self.root))
        own = {project["name"] for project in projects}
        wanted: list[str] = []
        scripts: dict[str, str] = {}
        groups: dict[str, dict[str, str]] = {}
        for project in projects:
            wanted += project["dependencies"]
            wanted += chain.from_iterable(project.get("optional-dependencies", {}).values())
            scripts |= project.get("scripts", {})
            for group, names in project.get("entry-points", {}).items():
                groups.setdefault(group, {}).update(names)
        metadata["dependencies"] = sorted({need for need in wanted if _name(need) not in own})
        metadata["scripts"] = scripts
        metadata["entry-points"] = groups


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
