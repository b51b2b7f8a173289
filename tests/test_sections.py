"""Every section of a configuration: one line for each mistake, the same in Python and from a file."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import Field, model_validator

from sadp_dist.errors import UsageError
from sadp_dist.registry import Registry
from sadp_dist.sections import OnlyWith, Section, options_of_kinds

ANIMALS: Registry[type] = Registry("animal")


class Leash(Section):
    metres: Annotated[float, Field(gt=0, le=5)] = 2.0
    colour: Literal["red", "blue"] | None = None


class Animal(Section):
    kinds = ANIMALS
    kind_key = "kind"

    kind: str = "dog"
    legs: Annotated[int, Field(ge=0, lt=2**64)] = 4
    names: list[str] = Field(default_factory=list)
    size: tuple[float, float] = (1.0, 2.0)
    tame: bool = True
    tricks: Annotated[int, OnlyWith("tame", True)] = 0
    leash: Leash = Leash()

    @model_validator(mode="after")
    def _check(self) -> Animal:
        if self.tame and self.legs == 0:
            raise UsageError("legs=0 needs tame=false; snakes bite")
        return self


class Bird(Animal):
    kind: str = "bird"
    wings: Annotated[int, Field(ge=1)]
    sings: bool = True


ANIMALS.register("dog")(type("Dog", (), {}))
ANIMALS.register("bird", Bird)(type("Robin", (), {}))


class Farm(Section):
    name: str
    animal: Animal = Animal()
    store: str = Field(default="", repr=False)


def test_a_kind_has_the_options_of_its_own_class_beside_the_common_ones():
    bird = Animal(kind="bird", wings=2)
    assert type(bird) is Bird and (bird.wings, bird.legs) == (2, 4)
    assert bird == Bird(wings=2) != Animal()
    assert type(Animal()) is Animal and "wings" not in Animal().to_dict()
    assert type(Farm(name="f", animal={"kind": "bird", "wings": 3}).animal) is Bird
    assert Farm(name="f", animal=bird).animal == bird
    assert options_of_kinds(Animal) == {"wings": ["bird"], "sings": ["bird"]}


def test_sections_are_copied_pickled_compared_and_written_as_plain_values():
    farm = Farm(name="f", animal=Animal(kind="bird", wings=2))
    for again in (pickle.loads(pickle.dumps(farm)), copy.deepcopy(farm), Farm.parse(farm.to_dict())):
        assert again == farm and type(again.animal) is Bird
    assert farm.to_dict()["animal"]["size"] == [1.0, 2.0]
    assert farm.replace(name="g").animal is farm.animal
    assert type(farm.animal.replace(wings=3)) is Bird
    with pytest.raises(UsageError, match='^wings is an option of kind="bird"'):
        farm.animal.replace(kind="dog")
    with pytest.raises(ValueError):
        farm.name = "g"


def test_a_field_without_effect_is_left_out_of_plain_values_unless_it_is_given():
    wild = Animal(tame=False)
    assert wild.tricks == 0 and "tricks" not in wild.to_dict() and Animal().to_dict()["tricks"] == 0
    assert Animal.parse(wild.to_dict()) == wild
    assert Farm.keys_in_use({"name": "f", "animal": {"tame": False, "tricks": 2}}) == {
        "name": "f",
        "animal": {"tame": False},
    }


def test_numbers_of_numpy_are_numbers_and_truth_values_are_not():
    animal = Animal(legs=np.int64(3), size=[np.float32(0.5), 1], tame=np.bool_(True))
    assert (animal.legs, animal.size, animal.tame) == (3, (0.5, 1.0), True)
    assert type(animal.legs) is int
    with pytest.raises(UsageError, match="^legs=True is not an integer in"):
        Animal(legs=True)


def test_an_empty_section_has_its_defaults():
    assert Farm.parse({"name": "f", "animal": None}) == Farm(name="f")


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"legs": -1}, r"legs=-1 is not an integer in \[0, 2\^64\)"),
        ({"legs": "four"}, r"legs='four' is not an integer in \[0, 2\^64\)"),
        ({"names": "rex"}, "names='rex' is not a list of strings"),
        ({"names": ["rex", 1]}, r"names=\['rex', 1\] is not a list of strings"),
        ({"size": [1]}, r"size=\[1\] is not a list of 2 numbers"),
        ({"size": [1, float("nan")]}, r"size=\[1, nan\] is not a list of 2 numbers"),
        ({"tame": "very"}, "tame='very' is not true or false"),
        ({"leash": {"metres": 6}}, r"leash.metres=6 is not a number in \(0, 5\]"),
        (
            {"leash": {"colour": "redd"}},
            'leash.colour=\'redd\' is not one of "red", "blue" or null; did you mean "red"\\?',
        ),
        ({"leash": {"colour": "green"}}, 'leash.colour=\'green\' is not one of "red", "blue" or null'),
        ({"leash": 3}, "leash=3 is not a section; give keys of its own, such as metres"),
        ({"lgs": 4}, r"unknown key 'lgs'; did you mean \"legs\"\? Known keys: kind, .*"),
        ({"xyz": 4}, "unknown key 'xyz'; known keys: kind, legs, names, size, tame, tricks, leash"),
        (
            {"leash": {"metre": 1}},
            r"unknown key 'metre' in section leash; did you mean \"metres\"\? Known .*",
        ),
        (
            {"kind": "brid"},
            r"kind='brid' is not known; use one of \"dog\", \"bird\"; did you mean \"bird\"\?",
        ),
        ({"kind": ["bird"]}, r"kind=\['bird'\] is not known; use one of \"dog\", \"bird\""),
        ({"kind": "bird"}, "wings is missing; give an integer of at least 1"),
        ({"kind": "bird", "wings": 0}, "wings=0 is not an integer of at least 1"),
        ({"wings": 2}, 'wings is an option of kind="bird", and kind is "dog"; remove wings'),
        (
            {"tame": False, "tricks": 2},
            "tricks=2 has an effect only with tame=true, and tame is false; remove tricks",
        ),
        ({"legs": 0}, "legs=0 needs tame=false; snakes bite"),
    ],
)
def test_a_mistake_is_one_line(keys, line):
    with pytest.raises(UsageError, match=f"^{line}$"):
        Animal(**keys)
    with pytest.raises(UsageError) as refusal:
        Farm.parse({"name": "f", "animal": keys}, source="farm.yaml")
    if not line.startswith("unknown key"):
        assert re.fullmatch(f"farm.yaml: animal.{line}", str(refusal.value))
    assert str(refusal.value).startswith("farm.yaml: ")
    assert "\n" not in str(refusal.value)


def test_a_missing_key_and_a_wrong_file_are_named():
    with pytest.raises(UsageError, match="^name is missing; give a string$"):
        Farm()
    with pytest.raises(UsageError, match="^unknown key 'nme'; did you mean \"name\""):
        Farm(nme="f")
    with pytest.raises(UsageError, match="^unknown key '5'"):
        Farm.parse({"name": "f", 5: 1})
    with pytest.raises(UsageError, match="^the configuration='text' is not a section"):
        Farm.parse("text")


def test_no_password_is_shown():
    url = "redis://u:S3CRET@h"
    assert "S3CRET" not in repr(Farm(name="f", store=url))
    for keys in (
        {"store": [url]},
        {"name": "f", "animal": url},
        {"name": "f", url: 1},
        {"animal": {"legs": url}},
    ):
        with pytest.raises(UsageError) as refusal:
            Farm(**keys)
        assert "S3CRET" not in str(refusal.value)


def test_a_class_with_options_is_not_taken_for_another_kind():
    with pytest.raises(UsageError, match='kind="dog" has not the options of Bird; use Animal instead'):
        Bird(kind="dog", wings=2)


def test_a_name_is_registered_once_but_a_module_may_be_imported_again():
    animals: Registry[type] = Registry("animal", {"cat": "json"})
    dog = type("Dog", (), {})
    assert animals.register("dog")(dog) is dog
    animals.register("dog")(type("Dog", (), {}))
    for name in ("dog", "cat"):
        with pytest.raises(UsageError, match=f'animal "{name}" exists already; choose .* one of cat, dog'):
            animals.register(name)(type("Other", (), {}))
    assert list(animals) == ["cat", "dog"] and "cow" not in animals
    with pytest.raises(KeyError):
        animals["cow"]


def test_what_ships_is_imported_when_it_is_used():
    script = (
        "import sys; from sadp_dist.registry import Registry; import sadp_dist.sections\n"
        "tools = Registry('tool', {'wave': 'wave:Wave_read', 'turtle': 'colorsys'})\n"
        "assert list(tools) == ['wave', 'turtle'] and 'wave' in tools and tools.options('turtle') is None\n"
        "assert not {'wave', 'colorsys'} & set(sys.modules)\n"
        "assert tools.options('wave').__name__ == 'Wave_read'\n"
        "assert not {'torch', 'numpy', 'sadp_dist.selection', 'sadp_dist.store'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
