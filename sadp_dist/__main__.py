"""``python -m sadp_dist`` is ``sadp-dist``; torchrun starts it with ``torchrun -m sadp_dist train CONFIG``."""

from sadp_dist.cli.main import main

if __name__ == "__main__":
    main()
