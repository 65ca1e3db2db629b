# Language level, warnings, hardening and sanitizers, once for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")

set(SANDBOX_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")
option(SANDBOX_CLANG_TIDY "Run clang-tidy while compiling" OFF)

find_package(absl REQUIRED)
find_package(Threads REQUIRED)

# Debian's package names the shared libraries; the release binary needs the archives beside them.
get_property(imported DIRECTORY PROPERTY IMPORTED_TARGETS)
foreach(target IN LISTS imported)
  get_target_property(location ${target} IMPORTED_LOCATION_NONE)
  if(target MATCHES "^absl::" AND location MATCHES "\\.so")
    string(REGEX REPLACE "\\.so.*$" ".a" archive ${location})
    if(EXISTS ${archive})
      set_target_properties(${target} PROPERTIES IMPORTED_LOCATION_NONE ${archive})
    endif()
  endif()
endforeach()

add_library(sandbox_flags INTERFACE)
target_include_directories(sandbox_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_compile_options(sandbox_flags INTERFACE
  -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers
  -fno-exceptions -fno-rtti
  -fstack-protector-strong -ftrivial-auto-var-init=zero
  $<$<CONFIG:Release>:-ffunction-sections -fdata-sections>)
target_compile_definitions(sandbox_flags INTERFACE _GNU_SOURCE _GLIBCXX_ASSERTIONS)

if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(sandbox_flags INTERFACE
    -Wthread-safety -Werror=thread-safety
    -Wno-gnu-statement-expression -Wno-unused-private-field
    -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
  if(SANDBOX_CLANG_TIDY)
    find_program(CLANG_TIDY clang-tidy REQUIRED)
  endif()
else()
  # gcc 12 sees dangling stores in TRY's statement expression that are not there.
  target_compile_options(sandbox_flags INTERFACE -Wno-maybe-uninitialized -Wno-stringop-overflow)
endif()

if(SANDBOX_SANITIZE)
  target_compile_options(sandbox_flags INTERFACE
    -fsanitize=${SANDBOX_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(sandbox_flags INTERFACE -fsanitize=${SANDBOX_SANITIZE})
  if(SANDBOX_SANITIZE MATCHES "thread")
    include(tsan)
  endif()
endif()

# The release binary is static, position independent, with read-only relocations.
add_library(sandbox_link INTERFACE)
if(NOT SANDBOX_SANITIZE)
  target_link_options(sandbox_link INTERFACE
    -static-pie -Wl,-z,relro,-z,now,-z,noexecstack $<$<CONFIG:Release>:-Wl,--gc-sections>)
endif()
