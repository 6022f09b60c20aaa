#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// What was said on a connection, as a capture has it.
namespace backup::wire {

// What one side sent.
struct SpokenBytes {
  struct Gap {
    size_t at = 0;
    size_t size = 0;
  };

  std::string bytes;      // With zeros for what was not captured.
  std::vector<Gap> gaps;  // What was not; in their order, and apart from each other.

  // How many of `size` bytes at `at`, all of which there are, were not captured.
  uint64_t MissingIn(size_t at, uint64_t size) const;
};

enum class Side { kClient, kServer };

struct Conversation {
  // The client spoke up to one place, then the server up to the other.
  struct Turn {
    size_t client_end = 0;
    size_t server_end = 0;
  };

  std::string name;  // For people: printable, one line.
  SpokenBytes client;
  SpokenBytes server;
  std::vector<Turn> turns;
  std::vector<std::string> remarks;  // What people should know of the capture.

  // Adds what was said next. `missing` bytes before it were not captured.
  void Add(Side side, absl::string_view bytes, size_t missing = 0);
};

}  // namespace backup::wire
