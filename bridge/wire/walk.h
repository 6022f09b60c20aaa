#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backup/bridge/v1/dialect.pb.h"
#include "bridge/wire/conversation.h"
#include "bridge/wire/reading.h"

// A conversation as one dialect reads it, message by message. Only for .cc files of bridge/wire.
namespace backup::wire {

// A message and what comes with it.
struct Step {
  size_t at = 0;
  uint64_t size = 0;  // On the wire, with content and padding; as much as was captured.
  Reading reading;
  std::vector<std::string> notes;  // Of its content and padding, and of what it answers.
  std::string wrong;               // Why it fits, but not here.
  bool is_usual_packet = false;    // One of many that are alike: there is nothing to tell of it.

  bool fits() const { return reading.fits() && wrong.empty(); }
  bool stops() const {
    return !fits() && reading.state != Reading::State::kCut &&
           reading.state != Reading::State::kGap;
  }
};

struct Walk {
  std::vector<Step> requests;
  std::vector<Step> answers;
  bool requests_stop = false;  // The last one does not fit.
  bool goes_on = true;         // Neither that, nor ends it where something was not captured.
  bool answers_differ = false;
  // Where it came to an end.
  size_t requests_end = 0;
  size_t answers_end = 0;
  bool pads = false;                 // Whether the client fills its messages up.
  std::vector<size_t> wants_answer;  // Which of `requests`.
};

// Follows the client from `at` on.
Walk WalkRequests(const v1::Dialect& dialect, const Conversation& conversation, size_t at);
// Follows the server from `at` to `end`, as it answers the requests of `walk`.
void WalkAnswers(const v1::Dialect& dialect, const Conversation& conversation, size_t at,
                 size_t end, Walk& walk);

}  // namespace backup::wire
