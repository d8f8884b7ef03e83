"""`python -m lcstool`, the same as the `lcstool` command."""

from lcstool.cli.main import main

if __name__ == "__main__":
    main()
