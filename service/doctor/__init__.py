"""`ledgerd check`: examines settings, database and host, and says what is wrong and what to do. It changes nothing.

Each examination is a function of one page at most: it takes a context and the subject, and returns a verdict, or several.
`report.GROUPS` lists all of them; `examine` runs them, each on its own and bounded in time.
"""
