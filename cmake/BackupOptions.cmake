# Language level, warnings and sanitizers for our own code (interface target backup_options), and the libraries we use.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS OFF CACHE BOOL "Prove that every header compiles alone")
option(BACKUP_FUZZ "Build tests/fuzz for libFuzzer; needs clang" OFF)
option(BACKUP_PRECOMPILE "Precompile the headers of libraries: builds in half the time, and hides missing includes" OFF)
set(BACKUP_SANITIZE "" CACHE STRING "Value for -fsanitize=, for example address,undefined")

# What was compiled before, in whatever folder, is not compiled again.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1
    CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(PostgreSQL REQUIRED)
find_package(absl REQUIRED)
if(NOT BACKUP_SANITIZE)
  set(Protobuf_USE_STATIC_LIBS ON)
endif()
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(gflags REQUIRED)
find_package(glog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CURL 7.86 REQUIRED)
find_library(PUGIXML_STATIC libpugixml.a REQUIRED)  # A part of each program that uses it, for a tenth of its size.
find_package(GTest REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing)
pkg_check_modules(EVENT REQUIRED IMPORTED_TARGET libevent_core libevent_extra libevent_pthreads)
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core)  # Never -pull: it brings civetweb.
pkg_check_modules(ARCHIVE REQUIRED IMPORTED_TARGET libarchive)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
include(GoogleTest)

# gRPC, Protobuf and Abseil become part of each program: docs/adr/0015-static-grpc.md. Debian's gRPC and Abseil describe
# their shared libraries only; the archive lies beside each. Not under a sanitizer, which has to tell their code from ours.
if(NOT BACKUP_SANITIZE)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  list(FILTER targets INCLUDE REGEX "^(gRPC|absl)::")
  foreach(target IN LISTS targets)
    get_target_property(location ${target} IMPORTED_LOCATION_NONE)
    if(location MATCHES "^(.+)\\.so[.0-9]*$")
      set_target_properties(${target} PROPERTIES IMPORTED_LOCATION_NONE ${CMAKE_MATCH_1}.a)
    endif()
  endforeach()
  # RE2 with them, because Debian 13's uses Abseil: shared, it would bring a second one into each process. What
  # pkg-config says of it is known from gRPC's search.
  list(TRANSFORM RE2_LDFLAGS REPLACE "^-l(re2|absl_.+)$" "-l:lib\\1.a")
  set_target_properties(re2::re2 PROPERTIES INTERFACE_LINK_LIBRARIES "${RE2_LDFLAGS}")
endif()

# Of libarchive we need only to write tar. Its shared library brings compressors, XML and Unicode's tables into every image;
# of its archive the linker takes what is used. (lzma: some other library needs it too, and so the linker asks for it.)
add_library(backup_libarchive INTERFACE)
if(BACKUP_SANITIZE)
  target_link_libraries(backup_libarchive INTERFACE PkgConfig::ARCHIVE)
else()
  find_library(ARCHIVE_STATIC libarchive.a REQUIRED)
  target_link_libraries(backup_libarchive INTERFACE ${ARCHIVE_STATIC} lzma)
  # What shared libraries need of each other is not looked for: libpq's have what the parts of libarchive need that are dropped.
  target_link_options(backup_libarchive INTERFACE -Wl,--gc-sections -Wl,--allow-shlib-undefined)
endif()

add_library(backup_options INTERFACE)
target_include_directories(backup_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(backup_options INTERFACE BACKUP_VERSION="${PROJECT_VERSION}")
target_compile_options(backup_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(backup_options INTERFACE -Wthread-safety)
endif()
if(BACKUP_FUZZ)
  # The second is for the coverage that tests/fuzz/run.py tells.
  add_compile_options(-fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()
if(BACKUP_SANITIZE)
  add_compile_options(-fsanitize=${BACKUP_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BACKUP_SANITIZE})
  # Instrumented, g++ 12 no longer sees that std::variant initializes what it reads.
  target_compile_options(backup_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()

# With BACKUP_PRECOMPILE: one precompiled header for all programs and libraries and one for all tests, used by
# backup_precompile(TARGET PCH). Options and definitions must be those of the targets, else compilers refuse it.
if(BACKUP_PRECOMPILE)
  add_compile_options(-pthread)
  add_compile_definitions(NOMINMAX)  # Some targets of Debian 13's Abseil bring it, others do not.
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cc CONTENT "")
  set(precompiled_headers <algorithm> <chrono> <filesystem> <functional> <map> <memory> <optional> <string> <thread>
    <variant> <vector> <absl/cleanup/cleanup.h> <absl/status/statusor.h> <absl/strings/str_cat.h>
    <absl/strings/str_format.h> <absl/time/clock.h> <glog/logging.h> <grpcpp/grpcpp.h>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # As CMake does it, behind -Xclang, ccache sees neither what is a path nor a file that is the same in another folder.
    set(CMAKE_CXX_COMPILE_OPTIONS_CREATE_PCH -x c++-header -Xclang -fno-pch-timestamp -include <PCH_HEADER>)
    set(CMAKE_CXX_COMPILE_OPTIONS_USE_PCH -include-pch <PCH_FILE>)
  endif()
  add_library(backup_pch OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
  target_link_libraries(backup_pch PRIVATE backup_options gflags glog::glog)
  target_precompile_headers(backup_pch PRIVATE ${precompiled_headers})
  add_library(backup_test_pch OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
  target_link_libraries(backup_test_pch PRIVATE backup_options gflags glog::glog GTest::gmock)
  target_precompile_headers(backup_test_pch PRIVATE ${precompiled_headers} <gmock/gmock.h> <gtest/gtest.h>)
endif()
function(backup_precompile target pch)
  if(BACKUP_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM ${pch})
  endif()
endfunction()
