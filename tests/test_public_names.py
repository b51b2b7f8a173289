"""What `import sadp_dist` offers, and what it does not import."""

import subprocess
import sys

import sadp_dist


def test_dir_shows_the_public_names_and_each_is_there():
    assert set(sadp_dist.__all__) <= set(dir(sadp_dist)) and "Pruner" in dir(sadp_dist)
    for name in dir(sadp_dist):
        assert getattr(sadp_dist, name) is not None


def test_the_import_loads_no_library():
    script = (
        "import sys, sadp_dist; dir(sadp_dist)\n"
        "assert not {'torch', 'numpy', 'pydantic', 'sadp_dist.pruner'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
