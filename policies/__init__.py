"""Who decides: policies by axis, each a page that reads like its definition and cites it."""
