"""What tests share: study files, stand-ins, processes and waits; fixtures are in conftest.py."""
