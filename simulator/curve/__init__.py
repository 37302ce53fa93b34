"""Hit rates at many cache sizes, without time: by stack distances where theory allows, else size by size."""
