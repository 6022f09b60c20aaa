#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backup/bridge/v1/dialect.pb.h"
#include "bridge/wire/conversation.h"

// One message as a description reads it, field by field, for people: slow, of the description
// itself, and independent of the codec, which must find the same. Only for .cc files of
// bridge/wire.
namespace backup::wire {

namespace v1 = ::backup::bridge::v1;

// What a field holds.
struct FieldReading {
  size_t at = 0;  // In the message.
  size_t size = 0;
  std::string kind;   // Field.Kind.
  std::string hex;    // Its first bytes; empty if they are not to be shown.
  std::string value;  // As text.
  std::string remark;
};

struct Reading {
  enum class State {
    kFits,
    kCut,        // So far; the bytes end here.
    kGap,        // So far; what follows was not captured.
    kStops,      // It is none of this dialect's.
    kNotItsOwn,  // Nor is its header, so that nobody would take it for one.
  };
  State state = State::kFits;
  std::string why;  // It stops; of kCut: "4 bytes before the end of CODE".
  std::vector<FieldReading> fields;
  size_t head_size = 0;    // Of the header and the fields.
  uint64_t body_size = 0;  // Of the content that follows.

  // Of a request.
  v1::RequestKind kind = v1::REQUEST_KIND_UNSPECIFIED;
  uint32_t version = 0;
  bool id_in_payload = false;
  uint64_t content_size = 0;  // As it says.
  std::string file_name;      // The field's bytes.
  uint64_t packet_number = 0;
  uint64_t packet_total = 0;
  uint64_t original_size = 0;
  uint64_t blocks_size = 0;  // Of a file in blocks: of all its ciphertext.

  // Of an answer.
  v1::AnswerKind answer = v1::ANSWER_KIND_UNSPECIFIED;

  bool fits() const { return state == State::kFits; }
};

// The request at `at`.
Reading ReadRequest(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at);
// The fields of a packet without a header at `at`, which follows `first`.
Reading ReadBarePacket(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at,
                       const Reading& first);
// The answer at `at`. `request` is what it answers, if that is known. Differences from what the
// bridge would answer are remarks of fields.
Reading ReadAnswer(const v1::Dialect& dialect, const SpokenBytes& bytes, size_t at,
                   const Reading* request);

// The kinds of answers to a request, but for GENERAL_ERROR.
std::vector<v1::AnswerKind> AnswersTo(v1::RequestKind kind);

// What encryption makes of so many bytes, and how long that is as content is written.
uint64_t CiphertextSize(const v1::Dialect& dialect, uint64_t plaintext_size);
uint64_t WrittenSize(const v1::FileContent& content, uint64_t ciphertext_size);

}  // namespace backup::wire
