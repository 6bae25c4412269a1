"""Studies: trials run, resumed and recorded in files; tables, claims and a report made of them."""
