"""The order of the modules: each imports only what is above it in the list."""

import ast
from graphlib import TopologicalSorter

import training
from training import COMMANDS, ROOT
from training.changes import list_code

MODULES = [  # from the lowest, each a file or a folder at the root
    "errors", "utils", "SpykeTorch", "engine", "s1c1", "imagesets", "encoders", "network_trainer", "models",
    "run_folder", "report", "training", *COMMANDS,
]  # fmt: skip
CORE = "engine", "s1c1", "network_trainer", "models"  # what a reader of the method reads; it imports no other part …
BELOW = {"errors", "utils", "SpykeTorch"}  # … than these, and models name their encoders
FILES = {
    path.relative_to(ROOT): module
    for module in MODULES
    for path in sorted([*ROOT.glob(f"{module}.py"), *(ROOT / module).rglob("*.py")])
}


def imports(path):
    """The names of the modules that a file imports, also within its functions or by their names in strings."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))


def test_imports_lead_upwards_in_the_list():
    ours = {folder.stem for folder in ROOT.iterdir()}
    for path, module in FILES.items():
        allowed = set(MODULES[: MODULES.index(module)]) - {*COMMANDS}  # no command imports another
        if module == "SpykeTorch":
            allowed = set()
        elif module in CORE:
            allowed &= {*BELOW, *CORE, *(["encoders"] if module == "models" else [])}
        assert {name.split(".")[0] for name in imports(ROOT / path)} & ours <= {module, *allowed}, path


def test_no_file_imports_itself_through_others():
    """A name is that of a file, or is in the file of the longest part of it that is one."""
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    graph = {}
    for path in FILES:
        found = (name if name in names else name.rpartition(".")[0] for name in imports(ROOT / path))
        graph[path] = {names[name] for name in found if name in names} - {path}
    assert len([*TopologicalSorter(graph).static_order()]) == len(FILES)


def test_the_list_is_that_of_the_program():
    """Every file at the root is in it; a user's own files are checked against it; the digest of the code covers it."""
    assert {path.stem for path in ROOT.glob("*.py")} <= {*MODULES}
    assert {*MODULES} - {*COMMANDS} == {*training.NAMES}
    assert {path.relative_to(ROOT) for path in list_code()} == {*FILES}


def test_the_method_in_one_file_imports_nothing_of_the_engine():
    ours = {path.stem for path in ROOT.iterdir()}
    found = {name.split(".")[0] for name in imports(ROOT / "tutorial" / "one_file.py")} & ours
    assert found == {"errors", "imagesets", "s1c1"}
