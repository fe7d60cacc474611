"""`python -m facestudio` is the `facestudio` command."""

from facestudio.cli.app import main

if __name__ == "__main__":
    main()
