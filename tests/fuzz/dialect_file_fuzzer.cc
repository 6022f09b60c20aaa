// What no dialect file may do, together with any input: crash the bridge, or make it break a
// promise of its codec. A file is refused or harmless. The built-in descriptions with random
// changes of their fields, each read, and if it is taken, tried on its own requests, damaged and
// whole. A seed that fails is replayed by giving it: dialect_file_fuzzer SEED.

#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "backup/bridge/v1/dialect.pb.h"
#include "bridge/wire/dialects.h"
#include "bridge/wire/sample_requests.h"
#include "bridge/wire/testing/unusual_dialects.h"
#include "glog/logging.h"
#include "google/protobuf/text_format.h"
#include "tests/fuzz/check_dialect.h"

namespace backup::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr uint32_t kSeeds = 4000;
constexpr int kDamagedForms = 8;

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  uint32_t Next(size_t below) { return static_cast<uint32_t>(random_() % below); }

  // One change, here or in a message below.
  void Mutate(Message& message) {
    const auto* descriptor = message.GetDescriptor();
    const FieldDescriptor* field =
        descriptor->field(static_cast<int>(Next(static_cast<size_t>(descriptor->field_count()))));
    const Reflection& reflection = *message.GetReflection();
    if (field->is_repeated()) return MutateList(message, *field, reflection);
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
      return Set(message, *field, reflection);
    if (!reflection.HasField(message, field) || Next(8) != 0)
      return Mutate(*reflection.MutableMessage(&message, field));
    reflection.ClearField(&message, field);
  }

 private:
  void MutateList(Message& message, const FieldDescriptor& field, const Reflection& reflection) {
    const int size = reflection.FieldSize(message, &field);
    const bool is_message = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (size > 0 && is_message && Next(4) != 0) {
      const int index = static_cast<int>(Next(static_cast<size_t>(size)));
      return Mutate(*reflection.MutableRepeatedMessage(&message, &field, index));
    }
    if (size > 1 && Next(2) == 0) {
      reflection.SwapElements(&message, &field, 0, size - 1);
      return;
    }
    if (size > 0 && Next(3) == 0) return reflection.RemoveLast(&message, &field);
    if (is_message) {
      Message* added = reflection.AddMessage(&message, &field);
      if (size > 0) {
        const int index = static_cast<int>(Next(static_cast<size_t>(size)));
        added->CopyFrom(reflection.GetRepeatedMessage(message, &field, index));
      }
      return Mutate(*added);
    }
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32)
      return reflection.AddUInt32(&message, &field, Number());
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING)
      return reflection.AddString(&message, &field, "C");
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM)
      reflection.AddEnumValue(&message, &field, EnumValue(field));
  }

  void Set(Message& message, const FieldDescriptor& field, const Reflection& reflection) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_UINT32:
        return reflection.SetUInt32(&message, &field, Number());
      case FieldDescriptor::CPPTYPE_UINT64:
        return reflection.SetUInt64(&message, &field, uint64_t{Number()} << Next(33));
      case FieldDescriptor::CPPTYPE_INT32:
        return reflection.SetInt32(&message, &field,
                                   static_cast<int32_t>(Number()) * (Next(2) == 0 ? 1 : -1));
      case FieldDescriptor::CPPTYPE_BOOL:
        return reflection.SetBool(&message, &field, Next(2) == 0);
      case FieldDescriptor::CPPTYPE_ENUM:
        return reflection.SetEnumValue(&message, &field, EnumValue(field));
      default:
        return;
    }
  }

  int EnumValue(const FieldDescriptor& field) {
    return static_cast<int>(Next(static_cast<size_t>(field.enum_type()->value_count())));
  }

  uint32_t Number() {
    static constexpr uint32_t kNumbers[] = {0,    1,    2,     4,     8,          15,        16,
                                            24,   32,   128,   160,   255,        256,       1024,
                                            2048, 2049, 65535, 65536, 0x7fffffff, 0xffffffff};
    return Next(4) == 0 ? random_() : kNumbers[Next(std::size(kNumbers))];
  }

  std::mt19937 random_;
};

void TryRequests(const Dialect& dialect, Mutator& mutator) {
  for (const SampleRequest& sample : SampleRequestsOf(dialect, {1, 3})) {
    std::string bytes = sample.head;
    bytes.resize(kMaxHeadSize);
    CheckDialect(dialect, sample.head);
    const auto head = dialect.DecodeHead(bytes);
    if (head.ok() && head->has_value()) {
      CheckAnswers(dialect, &(*head)->request);
      TryBarePacket(dialect, **head, bytes);
    }
    for (int form = 0; form < kDamagedForms; ++form) {
      std::string damaged = bytes;
      for (int change = 0; change < 4; ++change)
        damaged[mutator.Next(sample.head.size())] = static_cast<char>(mutator.Next(256));
      CheckDialect(dialect, damaged);
    }
  }
  CheckAnswers(dialect, nullptr);
}

// Whether the file that the seed makes was taken.
bool Try(uint32_t seed) {
  static const auto& descriptions = *[] {
    auto* const parsed = new std::vector<bridge::v1::Dialect>();
    const std::vector<Dialect> unusual = UnusualDialects();
    for (const absl::Span<const Dialect> dialects : {BuiltInDialects(), absl::MakeSpan(unusual)}) {
      for (const Dialect& dialect : dialects) {
        CHECK(google::protobuf::TextFormat::ParseFromString(std::string(dialect.source()),
                                                            &parsed->emplace_back()));
      }
    }
    return parsed;
  }();
  Mutator mutator(seed);
  bridge::v1::Dialect description = descriptions[mutator.Next(descriptions.size())];
  description.set_name("fuzzed");
  const uint32_t changes = 1 + mutator.Next(3);
  for (uint32_t change = 0; change < changes; ++change) mutator.Mutate(description);
  std::string text;
  google::protobuf::TextFormat::PrintToString(description, &text);
  const absl::StatusOr<Dialect> dialect = ParseDialect(text, "fuzzed.textproto");
  if (!dialect.ok()) {
    CHECK(!dialect.status().message().empty());
    return false;
  }
  TryRequests(*dialect, mutator);
  (void)DialectSet::Make({*dialect}, {});
  return true;
}

int Run(uint32_t first, uint32_t end) {
  uint32_t taken = 0;
  for (uint32_t seed = first; seed < end; ++seed) {
    VLOG(1) << "seed " << seed;
    taken += Try(seed);
  }
  std::cout << end - first << " files, " << taken << " taken\n";
  return 0;
}

}  // namespace
}  // namespace backup::wire

int main(int argc, char** argv) {
  uint32_t seed = 0;
  if (argc > 1 && absl::SimpleAtoi(argv[1], &seed)) return backup::wire::Run(seed, seed + 1);
  return backup::wire::Run(0, backup::wire::kSeeds);
}
