"""``python -m sadp_dist`` is ``sadp-dist``; under torchrun: ``torchrun ... -m sadp_dist train CONFIG``."""

from sadp_dist.cli.main import main

if __name__ == "__main__":
    main()
