"""The one place that calls nbconvert: from a notebook's JSON to the bytes of another format.

Runs in a worker only. Configuration files are not read, neither the user's nor one in the served folder,
so that nothing switches execution on; templates come from where packages install them.
"""

from __future__ import annotations

import io
import json
import mimetypes
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import PurePosixPath
from typing import Any, cast

from jupyter_core.paths import jupyter_config_dir
from nbconvert.exporters import (
    ASCIIDocExporter,
    HTMLExporter,
    LatexExporter,
    MarkdownExporter,
    RSTExporter,
)
from nbconvert.exporters import base as _untyped_base
from nbconvert.utils.pandoc import PandocMissing
from traitlets.config import Config

from evstore.core.notebooks import library
from evstore.processes.convert import pictures
from evstore.processes.convert.jobs import Converted, Job, Pictures

_base = cast("Any", _untyped_base)
_WITH_PICTURES = (HTMLExporter, LatexExporter, MarkdownExporter, RSTExporter, ASCIIDocExporter)

LONGEST = 300  # characters of a reason
_MIMETYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_EXTENSION = re.compile(r"\.[\w.+-]{1,30}", re.ASCII)
_UNSAFE = re.compile(r"[\\:\0-\x1f]")  # what a program that unpacks may take for a folder or a drive
_MISSING = ("not found on PATH", "is not installed", "No suitable chromium")  # from its pdf, qt* and webpdf
_HINTS = {  # what nbconvert says of options that are not ours
    "No suitable chromium": "there is no Chromium for it: `playwright install chromium` downloads one",
}
_PATH = re.compile(r"""(?<![\w:/.])/[^\s'"(),:;]+/[^\s'"(),:;]*""")  # of a file, and not of a web address


class BadNotebook(Exception):
    """What came is not a notebook, or not a valid one."""


class NotConverted(Exception):
    """nbconvert could not do it; the message says why in one sentence."""


class Missing(NotConverted):
    """It needs a program, or a package, that is not installed here."""


@cache
def exporters() -> dict[str, Any]:
    """The exporters that there are here, by format. Finding them takes as long as converting a small notebook."""
    return {name: _base.get_exporter(name, Config()) for name in _base.get_export_names(Config())}


def mimetypes_of_exporters() -> dict[str, str]:
    """The MIME type of each format, "" where it depends on the notebook."""
    return {name: str(exporter.output_mimetype or "") for name, exporter in exporters().items()}


def pictures_in(format: str, body: bytes) -> list[str]:
    """The paths of the pictures that a notebook needs in this format beside itself. Raises BadNotebook."""
    if not issubclass(exporters()[format], _WITH_PICTURES):
        return []
    try:
        return pictures.wanted(_read(body))
    except (AttributeError, KeyError, TypeError):
        return []  # it is not valid: `export` will say so


def export(job: Job, beside: Pictures | None = None) -> Converted:
    """The notebook in another format, with the pictures from beside it. Raises BadNotebook, NotConverted, Missing."""
    if job.posted:
        job = _unwrap(job)
    nb = _read(job.body)
    try:
        exporter, output, resources = _run(job, nb, beside or {})
    except Exception as error:
        if library.why_invalid(nb) is not None:
            raise BadNotebook(f"The notebook is not valid: {_sentence(error)}") from error
        kind = Missing if _is_missing(error) else NotConverted
        raise kind(f"The notebook could not be made into {job.format}: {_sentence(error)}") from error
    return _pack(job, exporter, output, resources)


def _unwrap(job: Job) -> Job:
    """The job in a request's body: `{"name": ..., "content": {...}}`."""
    try:
        model: Any = json.loads(job.body)
    except (ValueError, RecursionError):
        raise BadNotebook("The request's body is not JSON.") from None
    if not isinstance(model, dict):
        raise BadNotebook("The request's body must be a JSON object.")
    given = cast("dict[str, Any]", model)
    name, content = given.get("name", ""), given.get("content")
    if not isinstance(name, str) or not isinstance(content, dict):
        raise BadNotebook("The request needs the notebook as its content; its name is optional.")
    name = PurePosixPath(name.encode(errors="replace").decode()).name or "notebook.ipynb"
    return replace(job, name=name, body=json.dumps(content).encode())


def _read(body: bytes) -> library.Node:
    try:
        return library.read(body.decode())
    except RecursionError:
        raise BadNotebook("The notebook is nested too deeply.") from None
    except Exception as error:  # nbformat raises whatever Python does where it did not expect a thing
        raise BadNotebook(f"This can't be read as a notebook: {_sentence(error)}") from error


def _run(job: Job, nb: library.Node, beside: Pictures) -> tuple[Any, str | bytes, dict[str, Any]]:
    _tame(nb)
    config = Config()
    config.ExecutePreprocessor.enabled = False
    config.TemplateExporter.extra_template_basedirs = []
    exporter = exporters()[job.format](config=config)
    if job.sanitize is not None:
        exporter.sanitize_html = job.sanitize
    metadata = {"name": PurePosixPath(job.name).stem}
    if job.modified is not None:
        modified = datetime.fromtimestamp(job.modified / 1_000_000, UTC)
        metadata["modified_date"] = f"{modified:%B} {modified.day}, {modified.year}"
    resources: dict[str, Any] = {"metadata": metadata, "config_dir": jupyter_config_dir()}
    if issubclass(exporters()[job.format], HTMLExporter):
        pictures.embed(nb, beside)
    elif beside:
        resources["outputs"] = pictures.rename(nb, beside)
    output, resources = exporter.from_notebook_node(nb, resources=resources)
    return exporter, output, resources


def _is_missing(error: Exception) -> bool:
    """Whether a program is missing, and not the notebook at fault. nbconvert has no class of its own for most."""
    said = str(error)
    return isinstance(error, ImportError | PandocMissing) or (
        isinstance(error, OSError | RuntimeError) and any(words in said for words in _MISSING)
    )


def _tame(nb: library.Node) -> None:
    """A notebook may name its exporter for scripts. With dots in it, nbconvert would import and call what is named."""
    language = nb["metadata"].get("language_info")
    if isinstance(language, dict):
        named = cast("dict[str, Any]", language)
        if named.get("nbconvert_exporter") not in list(exporters()):
            named.pop("nbconvert_exporter", None)


def _pack(job: Job, exporter: Any, output: str | bytes, resources: dict[str, Any]) -> Converted:
    stem = PurePosixPath(job.name).stem
    extension = str(resources.get("output_extension") or "")
    filename = stem + (extension if _EXTENSION.fullmatch(extension) else ".txt")
    is_text = isinstance(output, str)
    data = output.encode(errors="replace") if isinstance(output, str) else output
    if files := resources.get("outputs"):
        archive = _archive(filename, data, files)
        return Converted(
            body=archive,
            mimetype="application/zip",
            filename=f"{stem}.zip",
            is_archive=True,
        )
    mimetype = _mimetype_of(exporter, filename, is_text=is_text)
    return Converted(body=data, mimetype=mimetype, filename=filename, is_text=is_text)


def _mimetype_of(exporter: Any, filename: str, *, is_text: bool) -> str:
    """What the exporter says; but PDF made by way of HTML says HTML, and scripts what the notebook says."""
    said = str(exporter.output_mimetype or "")
    guessed = mimetypes.guess_type(filename)[0]
    if is_text and _MIMETYPE.fullmatch(said):
        return said
    return guessed or ("text/plain" if is_text else "application/octet-stream")


def _archive(filename: str, data: bytes, files: dict[str, bytes]) -> bytes:
    """A ZIP archive. Names are taken without their folders, as in jupyter_server: so none leads out of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(filename, data)
        for path, content in files.items():
            name = _UNSAFE.sub("_", PurePosixPath(path).name)
            if name not in ("", "..", filename):
                archive.writestr(name, content)
    return buffer.getvalue()


def _sentence(error: Exception) -> str:
    """Why it went wrong, on one line, without the names of this machine's files."""
    text = str(error).strip()
    if (found := re.search(r"^! .+$", getattr(error, "output", "") or "", re.MULTILINE)) is not None:
        text = f"LaTeX says: {found[0]}"  # out of hundreds of lines of its output
    line = _PATH.sub("…", text.partition("\n")[0])[:LONGEST].strip()
    if isinstance(error, MemoryError):
        line = "it would take more memory than conversions may have"
    line = next((hint for begin, hint in _HINTS.items() if line.startswith(begin)), line)
    return (line or type(error).__name__).rstrip(".!") + "."
