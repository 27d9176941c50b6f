"""`python -m glacierseg` is `glacierseg`."""

from glacierseg.cli import main

if __name__ == "__main__":
    main()
