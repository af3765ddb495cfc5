"""`python -m realm`, the same as `realm`."""

from realm.cli import main

if __name__ == "__main__":
    main()
