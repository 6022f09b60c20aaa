#include "services/backup/audit/chain.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/testing/ids.h"

namespace backup::audit {
namespace {

storage::AuditEntry MakeEntry() {
  storage::AuditEntry entry;
  entry.number = 7;
  entry.time = absl::FromUnixMicros(1'700'000'000'000'001);
  entry.actor = "CN=operator";
  entry.role = "operator";
  entry.peer = "127.0.0.1:5";
  entry.action = "version delete";
  entry.client = storage::IdOf<ClientId>(3);
  entry.object = "name";
  entry.version_id = 12;
  entry.outcome = "OK";
  entry.detail = "more";
  return entry;
}

class ChainTest : public ::testing::Test {
 protected:
  const Chain chain_{SecretBytes(std::string(32, 'k'))};
  const Head head_{5, absl::FromUnixMicros(8), std::string(32, 'c')};
};

TEST_F(ChainTest, StaysAsItIs) {
  // As another implementation of the format made it, with Python's hmac.
  EXPECT_EQ(chain_.Sign(HeadKind::kNewest,
                        {1, absl::FromUnixMicros(2), chain_.Link(Chain::Origin(), MakeEntry())}),
            "1 2 e4c62f3538d06b1807bdeaf59d731af649c836b8c2f1d300b9f778b288a93575 "
            "5d5127cbe8765536fd52efec3f8945e8c26257f75d49bd88d301aff1701d2023");
}

TEST_F(ChainTest, AValueDependsOnEveryField) {
  const std::vector<std::function<void(storage::AuditEntry&)>> changes = {
      [](auto& entry) { ++entry.number; },
      [](auto& entry) { entry.time += absl::Microseconds(1); },
      [](auto& entry) { entry.actor += "x"; },
      [](auto& entry) { entry.role += "x"; },
      [](auto& entry) { entry.peer += "x"; },
      [](auto& entry) { entry.action += "x"; },
      [](auto& entry) { entry.client.reset(); },
      [](auto& entry) { entry.client = storage::IdOf<ClientId>(4); },
      [](auto& entry) { entry.object += "x"; },
      [](auto& entry) { ++entry.version_id; },
      [](auto& entry) { entry.outcome += "x"; },
      [](auto& entry) { entry.detail += "x"; },
      // What is moved from one field to the next.
      [](auto& entry) { entry.actor = "CN=operatoroperator", entry.role.clear(); },
  };
  std::set<std::string> values = {
      chain_.Link(Chain::Origin(), MakeEntry()), chain_.Link(std::string(32, 'b'), MakeEntry()),
      Chain(SecretBytes(std::string(32, 'K'))).Link(Chain::Origin(), MakeEntry())};
  for (const auto& change : changes) {
    storage::AuditEntry entry = MakeEntry();
    change(entry);
    values.insert(chain_.Link(Chain::Origin(), entry));
  }
  EXPECT_EQ(values.size(), changes.size() + 3);
}

TEST_F(ChainTest, ReadsAHeadThatItSigned) {
  const std::string text = chain_.Sign(HeadKind::kNewest, head_);
  EXPECT_EQ(chain_.Read(HeadKind::kNewest, text), head_);
  EXPECT_EQ(chain_.Read(HeadKind::kNewest, text + "\n"), head_);
}

TEST_F(ChainTest, ReadsNoOtherHead) {
  const std::string text = chain_.Sign(HeadKind::kNewest, head_);
  EXPECT_EQ(chain_.Read(HeadKind::kRemoved, text), std::nullopt);
  EXPECT_EQ(Chain(SecretBytes(std::string(32, 'K'))).Read(HeadKind::kNewest, text), std::nullopt);
  EXPECT_EQ(chain_.Read(HeadKind::kNewest, ""), std::nullopt);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == '0' ? '1' : '0';
    EXPECT_EQ(chain_.Read(HeadKind::kNewest, changed), std::nullopt) << changed;
    EXPECT_EQ(chain_.Read(HeadKind::kNewest, text.substr(0, i)), std::nullopt) << i;
  }
}

}  // namespace
}  // namespace backup::audit
