"""`python -m celery_rs`: the console script's twin."""
import sys

from celery_rs.program import main

if __name__ == '__main__':
    sys.exit(main())
