"""A share of tests/fault/rot."""

import importlib.machinery
import importlib.util
import pathlib

FLIPS = 100


def load():
    loader = importlib.machinery.SourceFileLoader("rot_command", str(pathlib.Path(__file__).with_name("rot")))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("rot_command", loader))
    loader.exec_module(module)
    return module


def test_each_flipped_bit_is_found_or_changes_no_answer(lab):
    counts = load().run(lab, FLIPS)
    print(counts)
    assert sum(counts.values()) >= FLIPS and set(counts) == {"content: found", "manifests: found", "catalog: found", "catalog: without effect"}
