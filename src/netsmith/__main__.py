"""``python -m netsmith``."""

from netsmith.cli import main

if __name__ == "__main__":
    main()
