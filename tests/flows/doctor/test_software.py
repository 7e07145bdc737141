"""The doctor names versions that were not tested, and packages that hide ours."""

from importlib.metadata import version

import pytest

from flows.doctor import software


def test_version_that_the_distribution_refuses_is_bad(monkeypatch, tmp_path):
    monkeypatch.setattr(
        software, "requires", lambda _: ["numpy>=900", 'torch==0.1; extra == "deep"']
    )
    (found,) = software.versions(tmp_path / "none.txt")
    assert found.level == "bad"
    assert found.found == f"numpy {version('numpy')} (needed: >=900)"
    assert "constraints.txt" in found.mend


def test_package_that_is_not_there_is_bad(monkeypatch, tmp_path):
    monkeypatch.setattr(software, "requires", lambda _: ["no-such-package-of-ours"])
    (found,) = software.versions(tmp_path / "none.txt")
    assert (found.level, found.found) == ("bad", "no-such-package-of-ours is not installed")


def test_version_other_than_the_tested_one_is_a_warning(tmp_path):
    (tmp_path / "constraints.txt").write_text("zarr==3.0.0\nnot-needed==1\n")
    (found,) = software.versions(tmp_path / "constraints.txt")
    assert found.level == "warn"
    assert found.found == f"zarr {version('zarr')} (tested: 3.0.0)"


def test_environment_of_the_tests_is_the_tested_one():
    (found,) = software.versions()
    assert found.level == "ok", found.found


@pytest.mark.parametrize("kind", ["package", "module", "folder"])
def test_package_that_hides_ours_is_named(tmp_path, kind):
    if kind == "module":
        (tmp_path / "models.py").touch()
    else:
        (tmp_path / "models").mkdir()
        if kind == "package":
            (tmp_path / "models" / "__init__.py").touch()
    (found,) = software.names([str(tmp_path), str(software.ROOT)])
    if kind == "folder":  # without __init__.py, Python prefers ours
        assert found.level == "ok"
        return
    assert found.level == "bad"
    assert f"models is {tmp_path}" in found.found
    assert "PYTHONSAFEPATH" in found.mend


def test_names_are_ours_where_nothing_hides_them():
    (found,) = software.names([str(software.ROOT)])
    assert found.level == "ok"
