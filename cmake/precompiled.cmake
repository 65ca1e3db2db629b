# Headers of others that most sources include, parsed once: what the compiler saves is a third of a
# build. None of ours is among them, so that an edit rebuilds what it always did. Each source still
# includes what it uses: the preset `clang` compiles without (CMAKE_DISABLE_PRECOMPILE_HEADERS).
set(STANDARD_HEADERS <algorithm> <array> <atomic> <cerrno> <charconv> <chrono> <cstddef> <cstdint>
    <cstring> <functional> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view>
    <thread> <utility> <vector>)
set(ABSL_HEADERS [["absl/base/thread_annotations.h"]] [["absl/container/flat_hash_map.h"]]
    [["absl/status/statusor.h"]] [["absl/strings/str_cat.h"]] [["absl/strings/str_format.h"]]
    [["absl/synchronization/mutex.h"]])

# One for each set of options: a compiler takes such a file with the options that made it only.
function(precompiled name)
  cmake_parse_arguments(ARG "" "" "HEADERS;OPTIONS;DEPS" ${ARGN})
  add_library(${name} OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cc)
  target_link_libraries(${name} PRIVATE sandbox_flags ${ARG_DEPS})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  if("-fPIE" IN_LIST ARG_OPTIONS)
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  endif()
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()

# ccache needs this one, and that it may take such a file by its content: tests/run.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(sandbox_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  # gcc 12 sees moves of std::string out of bounds, and in such a file it does not know that the
  # place is in a header of the system. Without the files (preset clang, or the variable) it checks.
  if(NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
    target_compile_options(sandbox_flags INTERFACE -Wno-array-bounds -Wno-restrict
                           -Wno-stringop-overread)
  endif()
endif()

find_package(GTest REQUIRED)
set(absl_targets absl::core_headers absl::flat_hash_map absl::statusor absl::strings
    absl::str_format absl::synchronization)
precompiled(precompiled_library HEADERS ${STANDARD_HEADERS} ${ABSL_HEADERS} DEPS ${absl_targets})
precompiled(precompiled_program HEADERS ${STANDARD_HEADERS} ${ABSL_HEADERS} DEPS ${absl_targets}
            OPTIONS -fPIE)
precompiled(precompiled_test HEADERS <gmock/gmock.h> <gtest/gtest.h> ${STANDARD_HEADERS}
            ${ABSL_HEADERS} DEPS ${absl_targets} GTest::gmock GTest::gtest_main OPTIONS -fPIE -O1)
