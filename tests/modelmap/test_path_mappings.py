"""Files of a program on another machine have other paths there."""

from __future__ import annotations

import pytest

from dap_server.modelmap.path_mappings import PathMappings, Roots

MAPPED = PathMappings(
    [
        Roots("/home/me/work", "/srv/app"),
        Roots("/home/me/work/vendored/", "/opt/vendored/"),
        Roots(r"C:\Users\me\work", "/data"),
    ]
)


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        ("/home/me/work/train.py", "/srv/app/train.py"),
        ("/home/me/work/models/net.py", "/srv/app/models/net.py"),
        ("/home/me/work/vendored/x.py", "/opt/vendored/x.py"),
        ("/home/me/workshop/train.py", "/home/me/workshop/train.py"),
        (r"C:\Users\me\work\models\net.py", "/data/models/net.py"),
        ("/usr/lib/python3.11/json/__init__.py", "/usr/lib/python3.11/json/__init__.py"),
    ],
)
def test_a_path_has_its_place_on_either_machine(local: str, remote: str) -> None:
    assert MAPPED.to_program(local) == remote
    assert MAPPED.to_client(remote) == local


def test_windows_knows_no_case() -> None:
    assert MAPPED.to_program(r"c:\users\Me\work\a.py") == "/data/a.py"


def test_without_mappings_paths_stay_as_they_are() -> None:
    assert PathMappings().to_client("/srv/app/train.py") == "/srv/app/train.py"
