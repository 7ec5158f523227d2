"""The recipe of a machine image: the files of `ami/`, read and hashed."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import launcher
from launcher.errors import SpecError

FILES = ("clean.sh", "provision.sh", "smoke_test.py", "versions.env")
FOLDER = "ami"
NEEDED = ("BASE_IMAGE", "PREFIX")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an image is made of: the four files, and wheels that are on no index."""

    folder: Path
    files: dict[str, bytes]
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """sha256 of the files' names and digests: another recipe has another one. Packer's template tells the same."""
        lines = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in self.files.items()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def python(self) -> str:
        """The interpreter that it installs."""
        return f"{self.versions['PREFIX']}/bin/python"

    def base(self, architecture: str) -> str:
        """The image to begin with, as a selector."""
        return self.versions["BASE_IMAGE"].replace("{architecture}", architecture or "x86_64")


def read(folder: Path | None = None) -> Recipe:
    """The recipe in a folder, or one of gpurun's own by its name; left out: in `ami/` here, or gpurun's own.

    A script that a folder lacks is gpurun's own. Raises `SpecError` for a folder without versions, and for a versions
    file that says too little.
    """
    own = Path(launcher.__file__).parents[1] / FOLDER
    places = [Path.cwd() / FOLDER, own] if folder is None else [folder, own / folder]
    found = next((place for place in places if (place / "versions.env").is_file()), None)
    if found is None:
        raise SpecError(
            f"no recipe in {', '.join(map(str, places))}: versions.env is not there",
            hint=f"--recipe FOLDER, with a versions.env like {own / 'versions.env'}",
        )
    try:
        files = {name: _place(found, own, name).read_bytes() for name in FILES}
        files |= {path.name: path.read_bytes() for path in sorted(found.glob("*.whl"))}
        files["smoke_test.py"].decode()
        versions = parse(files["versions.env"].decode())
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the recipe in {found} cannot be read: {error}", hint="--recipe FOLDER") from None
    missing = [name for name in NEEDED if not versions.get(name)]
    if missing:
        raise SpecError(f"{found / 'versions.env'} does not set {missing[0]}", hint=f"add {missing[0]}=... to it")
    if not re.fullmatch(r"/[\w./-]+", versions["PREFIX"]):
        raise SpecError(f"{found / 'versions.env'}: PREFIX={versions['PREFIX']!r} is no plain path", hint="/opt/gpurun")
    return Recipe(folder=found.resolve(), files=files, versions=versions)


def _place(found: Path, own: Path, name: str) -> Path:
    return found / name if (found / name).exists() else own / name


def parse(text: str) -> dict[str, str]:
    """NAME="VALUE" lines and comments; raises `SpecError` for anything else, since a shell reads the file too."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.partition("=")
        try:
            words = shlex.split(rest, comments=True)
        except ValueError:
            words = ["", ""]
        if not re.fullmatch(r"[A-Z_]+", name) or len(words) > 1 or "`" in rest or "$" in rest:
            raise SpecError(
                f'versions.env, line {number}: {line:.60}: expected NAME="VALUE"', hint="see ami/versions.env"
            )
        found[name] = words[0] if words else ""
    return found
