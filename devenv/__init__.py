"""Set-up of private parts for ./dev and the tests: packages, database servers, the virtual environment, processes.

Standard library only, and nothing of the product: it has to run before anything else is there.
"""
