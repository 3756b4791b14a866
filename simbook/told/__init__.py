r"""What tables and verdicts say, in sentences whose every number is computed: of chapters and of the first page."""
