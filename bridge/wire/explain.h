#pragma once

#include <cstddef>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bridge/wire/conversation.h"

namespace backup::wire {

// Tells people how dialects read a conversation, message by message and field by field, and where
// they stop fitting. It reads descriptions by code of its own, not by the codec's. Neither content
// nor keys are shown. Used by one thread at a time.
class Explainer {
 public:
  struct Description {
    std::string name;
    std::string text;  // Of the file (dialect.proto, text format), which was checked.
  };

  // InvalidArgument if a text is no Dialect.
  static absl::StatusOr<Explainer> Make(const std::vector<Description>& descriptions);
  ~Explainer();
  Explainer(Explainer&&) noexcept;
  Explainer& operator=(Explainer&&) noexcept;

  // Whether some dialect fits all of it.
  bool Explain(const Conversation& conversation, std::ostream& out);
  // How many of the conversations so far each dialect fits.
  void Summarize(std::ostream& out) const;

 private:
  struct Impl;
  explicit Explainer(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace backup::wire
