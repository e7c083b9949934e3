TESTED_ELSEWHERE: dict[str, str] = {}
TESTS_OF_SEVERAL_FILES: dict[str, str] = {}
