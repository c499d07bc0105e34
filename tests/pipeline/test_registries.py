"""Registries that remember their functions: what they give is what they would find."""

import catalogue
import pytest
import srsly

import spacy_skd.pipeline.readings  # noqa: F401  quickens srsly's
from spacy_skd.pipeline.registries import quicken


def chained(value, chain=None):
    return value


@pytest.fixture
def registry():
    registry = catalogue.create("skd_test", entry_points=True)
    registry.get_entry_points = dict
    yield registry
    for path in [path for path in catalogue.REGISTRY if path[0] == "skd_test"]:
        del catalogue.REGISTRY[path]


def test_those_of_srsly():
    for registry in (srsly.msgpack_encoders, srsly.msgpack_decoders):
        assert not registry.entry_points
        assert {"numpy", "skd_reading"} <= registry.get_all().keys()
        assert registry.get_all() == catalogue.Registry.get_all(registry)


def test_functions_of_other_packages_are_still_found(registry):
    registry.get_entry_points = lambda: {"others": chained}
    quicken(registry)
    assert registry.get_all() == {"others": chained}
    registry.get_entry_points = lambda: {"others": chained, "more": chained}
    assert registry.get_all().keys() == {"others", "more"}


def test_what_is_registered_replaced_and_removed_later(registry):
    quicken(registry)
    assert registry.get_all() == {}
    registry.register("one", func=chained)
    assert registry.get_all() == {"one": chained}
    registry.register("one", func=print)
    assert registry.get_all() == {"one": print}
    other = catalogue.Registry(("skd_test",))
    other.register("two", func=chained)
    assert registry.get_all() == {"one": print, "two": chained}
    del catalogue.REGISTRY["skd_test", "one"]
    assert registry.get_all() == {"two": chained}


def test_what_takes_the_place_of_another_registry_s_function(registry):
    other = catalogue.Registry(("skd_test", "other"))
    other.register("one", func=chained)
    quicken(registry)
    assert registry.get_all() == {}
    del catalogue.REGISTRY["skd_test", "other", "one"]
    registry.register("one", func=chained)
    assert registry.get_all() == {"one": chained}


def test_it_looks_once(registry):
    looked = []

    def get_all():
        looked.append(1)
        return catalogue.Registry.get_all(registry)

    registry.get_all = get_all
    quicken(registry)
    quicken(registry)
    registry.register("one", func=chained)
    registry.get_all()["other"] = chained
    assert [registry.get_all() for _ in range(3)] == [{"one": chained}] * 3
    assert len(looked) == 2, "at first, and after something was registered"
