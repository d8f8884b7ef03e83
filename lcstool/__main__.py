"""`python -m lcstool`, the same as the `lcstool` command."""

from lcstool.cli import main

if __name__ == "__main__":
    main()
