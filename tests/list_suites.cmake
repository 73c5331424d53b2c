# SPDX-License-Identifier: Apache-2.0
#
# Writes a ctest entry for every suite that PROGRAM, a GoogleTest program, says it has.
execute_process(COMMAND ${PROGRAM} --gtest_list_tests
  OUTPUT_VARIABLE listed COMMAND_ERROR_IS_FATAL ANY)
# A suite's line is `Suite.`, `Suite/0.` (typed), `Values/Suite.` or `Values/Suite/0.` (parametrised).
string(REGEX MATCHALL "\n[A-Za-z0-9_/]+\\." lines "\n${listed}")
list(TRANSFORM lines REPLACE "^\n|(/[0-9]+)?\\.$" "")
list(TRANSFORM lines REPLACE "^.*/" "")
list(REMOVE_DUPLICATES lines)
set(entries "")
foreach(suite IN LISTS lines)
  set(filter "${suite}.*:${suite}/*:*/${suite}.*:*/${suite}/*")
  string(APPEND entries
    "add_test([[${suite}]] [[${PROGRAM}]] [[--gtest_filter=${filter}]])\n"
    # Skipped only when every test of it was: then the list of those ends the output.
    "set_tests_properties([[${suite}]] PROPERTIES SKIP_REGULAR_EXPRESSION "
    "[[\\[  PASSED  \\] 0 tests\\.\n\\[  SKIPPED \\] [^\n]*listed below:\n(\\[  SKIPPED \\] [^\n]*\n?)+$]])\n")
endforeach()
file(WRITE ${OUTPUT} "${entries}")
