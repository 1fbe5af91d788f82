"""The parts of one JupyterLab, with the Notebook beside it, and where they keep their things."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (jupyterlab comes without types)

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jupyter_core.paths import jupyter_config_dir, jupyter_path
from jupyterlab.commands import HERE, get_app_dir, get_user_settings_dir, get_workspaces_dir
from jupyterlab_server.config import get_federated_extensions

from evstore.config import Config
from evstore.lab.apps import LAB, NOTEBOOK
from evstore.lab.extensions import Extensions
from evstore.lab.folders import Folders
from evstore.lab.licenses import Licenses
from evstore.lab.page import Pages
from evstore.lab.plugins import Plugins
from evstore.lab.settings import Settings
from evstore.lab.translations import Translations
from evstore.lab.workspaces import Workspaces

# Written in plain JavaScript: what lies there is served
OWN_EXTENSIONS = Path(__file__).parent / "labextensions"


class Lab:
    """Everything that the endpoints of the front ends serve. All methods read the disk: call them in a thread."""

    def __init__(self, config: Config) -> None:
        self.folders = folders = find_folders(config)
        self.plugins = Plugins(folders)
        self.extensions = Extensions(folders, self.plugins, config)
        self.pages = Pages(LAB, folders.static, self.plugins, config)
        self.notebook = find_notebook(folders, self.plugins, config)
        self.settings = Settings(self.folders)
        self.translations = Translations(self.settings)
        self.workspaces = Workspaces(self.folders.workspaces)
        bundles = {"@jupyterlab/application-top": folders.static}
        if self.notebook is not None:
            bundles["@jupyter-notebook/app"] = self.notebook.static
        self.licenses = Licenses(folders, bundles)

    def theme_folders(self) -> list[Path]:
        """Where a theme's files may lie: in the extensions first, then in the application."""
        extensions = get_federated_extensions(self.folders.labextensions_path).values()
        return [Path(extension["ext_path"]) / "themes" for extension in extensions] + [self.folders.themes]


@dataclass(frozen=True, slots=True)
class Notebook:
    """What is Notebook's own; the rest it shares with JupyterLab."""

    pages: Pages
    static: Path
    custom: tuple[Path, ...]  # folders that /custom serves: the user's, then the package's


def find_notebook(folders: Folders, plugins: Plugins, config: Config) -> Notebook | None:
    """Notebook, if it is installed."""
    spec = find_spec(NOTEBOOK.packages[-1])
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    return Notebook(
        pages=Pages(NOTEBOOK, package / "templates", plugins, config),
        static=package / "static",
        custom=(folders.custom, package / "custom"),
    )


def find_folders(config: Config) -> Folders:
    """The application that Jupyter would start: a built one if there is one, else the package's own."""
    app = Path(get_app_dir())
    if not (app / "static" / "index.html").is_file():
        app = Path(HERE)
    own = config.settings_dir
    config_dir = own or Path(jupyter_config_dir())
    return Folders(
        app=app,
        extensions=(*(Path(path) for path in jupyter_path("labextensions")), OWN_EXTENSIONS),
        user_settings=own / "lab/user-settings" if own else Path(get_user_settings_dir()),
        workspaces=own / "lab/workspaces" if own else Path(get_workspaces_dir()),
        labconfig=config_dir / "labconfig",
        custom=config_dir / "custom",
    )
