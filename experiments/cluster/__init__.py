"""One search on many machines: a study on PostgreSQL, whose workers claim before they train."""
