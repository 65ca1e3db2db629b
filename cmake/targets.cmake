# sandbox_library(name SOURCES … HEADERS … DEPS …): one static library for one component.
# Headers go into a file set, so that the target all_verify_interface_header_sets proves that
# each compiles alone.
function(sandbox_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;HEADERS;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(${name} PRIVATE ${ARG_PRIVATE_DEPS})
    target_precompile_headers(${name} REUSE_FROM precompiled_library)
    if(SANDBOX_CLANG_TIDY)
      set_target_properties(${name} PROPERTIES CXX_CLANG_TIDY "${CLANG_TIDY};--quiet")
    endif()
  else()
    add_library(${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  if(ARG_HEADERS)
    target_sources(${name} ${scope} FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR}
                   FILES ${ARG_HEADERS})
    set_target_properties(${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  endif()
  target_link_libraries(${name} ${scope} sandbox_flags ${ARG_DEPS})
endfunction()

# sandbox_test(name SOURCES … DEPS …): a GoogleTest unit test, registered with ctest as a whole.
function(sandbox_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE sandbox_flags ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  # Their speed is the compiler's: assertions are what most of their code is.
  target_compile_options(${name} PRIVATE -O1)
  target_precompile_headers(${name} REUSE_FROM precompiled_test)
  add_test(NAME unit.${name} COMMAND ${name})
  set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 120)
endfunction()
