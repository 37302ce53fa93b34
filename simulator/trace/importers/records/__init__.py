"""One record for each token and layer, the commonest form that loggers write: JSON lines, CSV or Parquet."""
