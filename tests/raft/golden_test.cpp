// Golden cluster scripts: tests/raft/testdata/*.txt hold commands and the transcript they produce.
//
//   > command                 what the test does, see Script::execute
//   | output                  what the cluster did; regenerated with ESC_UPDATE_GOLDEN=1
//   # comment
//
// To write a new script, write only commands and comments and run once with ESC_UPDATE_GOLDEN=1.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "raft/cluster.h"
#include "raft/testdata_path.h"

namespace esc::raft::testing {
namespace {

const char* to_text(EntryKind kind) {
  switch (kind) {
    case EntryKind::proposal: return "proposal";
    case EntryKind::noop: return "no-op";
    case EntryKind::configuration: return "configuration";
    case EntryKind::received: return "received";
    case EntryKind::reset: return "reset";
  }
  return "?";
}

class Script {
 public:
  std::string run(std::istream& input) {
    std::ostringstream transcript;
    for (std::string line; std::getline(input, line);) {
      if (line.starts_with("| ")) continue;  // the old transcript
      transcript << line << '\n';
      if (!line.starts_with("> ")) continue;
      std::istringstream words(line.substr(2));
      execute(words);
      std::istringstream lines(output_.str());
      for (std::string out; std::getline(lines, out);) transcript << "| " << out << '\n';
      output_.str("");
    }
    if (cluster_) {
      EXPECT_EQ(cluster_->failure(), "");
    }
    return transcript.str();
  }

 private:
  void execute(std::istringstream& words) {
    std::string verb;
    words >> verb;
    static const std::map<std::string, void (Script::*)(std::istringstream&)> kVerbs = {
        {"cluster", &Script::start},
        {"advance", &Script::advance},
        {"tick", &Script::tick},
        {"deliver", &Script::deliver},
        {"drop", &Script::drop},
        {"disk", &Script::disk},
        {"settle", &Script::settle},
        {"run", &Script::run_for},
        {"propose", &Script::propose},
        {"change", &Script::change},
        {"read", &Script::read},
        {"transfer", &Script::transfer},
        {"crash", &Script::crash},
        {"restart", &Script::restart},
        {"isolate", &Script::isolate},
        {"heal", &Script::heal},
        {"unreachable", &Script::unreachable},
        {"compact", &Script::compact},
        {"fetch", &Script::fetch},
        {"add", &Script::add},
        {"state", &Script::state},
        {"network", &Script::network},
        {"elect", &Script::elect},
        {"late", &Script::late},
    };
    const auto at = kVerbs.find(verb);
    if (at == kVerbs.end()) {
      output_ << "unknown command\n";
      return;
    }
    (this->*at->second)(words);
  }

  static NodeId node(std::istringstream& words) {
    std::uint32_t id = 0;
    words >> id;
    return NodeId(id);
  }
  static Nanos millis(std::istringstream& words) {
    std::int64_t ms = 0;
    words >> ms;
    return ms * kMillisecond;
  }
  // "1,2,3"
  static std::vector<std::uint32_t> list(std::istringstream& words) {
    std::string text;
    words >> text;
    std::vector<std::uint32_t> ids;
    std::istringstream parts(text);
    for (std::string id; std::getline(parts, id, ',');)
      ids.push_back(static_cast<std::uint32_t>(std::stoul(id)));
    return ids;
  }
  template <class T>
  void answer(const std::expected<T, Errc>& result) {
    if (!result) output_ << "refused: " << esc::to_string(result.error()) << '\n';
  }

  void start(std::istringstream& words) {
    Cluster::Options options;
    options.voters = list(words);
    for (std::string option; words >> option;) {
      if (option == "small-messages") options.limits.message_entries_max = 1;
      if (option == "window-2") options.limits.inflight_messages_max = 2;
    }
    cluster_ = std::make_unique<Cluster>(options);
    cluster_->record_late_marks = true;
    cluster_->observer = [this](const Node& n, const Effects& effects) { print(n, effects); };
  }
  void advance(std::istringstream& words) { cluster_->advance(millis(words)); }
  void tick(std::istringstream& words) { cluster_->tick(node(words)); }
  void settle(std::istringstream&) { cluster_->settle(); }
  void run_for(std::istringstream& words) { cluster_->run(millis(words)); }
  void heal(std::istringstream&) { cluster_->heal(); }
  void isolate(std::istringstream& words) { cluster_->isolate(node(words)); }
  void restart(std::istringstream& words) { cluster_->restart(node(words)); }
  void add(std::istringstream& words) { cluster_->add_node(node(words)); }

  // Quietly makes a node leader: the others stay still. The transcript then starts from there.
  void elect(std::istringstream& words) {
    const NodeId id = node(words);
    const auto observer = std::exchange(cluster_->observer, nullptr);
    for (int i = 0; i < 500 && cluster_->leader() != id; ++i) {
      cluster_->run(10 * kMillisecond);
      const NodeId leader = cluster_->leader();
      if (leader != NodeId(0) && leader != id) static_cast<void>(cluster_->transfer(leader, id));
    }
    cluster_->run(60 * kMillisecond);
    cluster_->observer = observer;
    output_ << "node " << cluster_->leader().value() << " leads term "
            << cluster_->core(cluster_->leader()).term().value() << '\n';
  }

  // deliver | deliver TO: packets now in flight (to TO), not what they cause
  void deliver(std::istringstream& words) { packets(words, false); }
  void drop(std::istringstream& words) { packets(words, true); }
  void packets(std::istringstream& words, bool lose) {
    const NodeId to = node(words);
    std::size_t left = cluster_->network().size();
    for (std::size_t i = 0; left > 0; --left) {
      const Message& message = cluster_->network()[i].message;
      if (to != NodeId(0) && message.to != to) {
        ++i;
      } else if (lose) {
        output_ << "lost " << describe(message) << '\n';
        cluster_->network().erase(cluster_->network().begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        output_ << "deliver " << describe(message) << '\n';
        cluster_->deliver(i);
      }
    }
  }
  void disk(std::istringstream& words) { cluster_->finish_writes(node(words)); }
  void propose(std::istringstream& words) {
    const NodeId id = node(words);
    std::uint32_t count = 1;
    words >> count;
    answer(cluster_->propose(id, count, 100 * count));
  }
  void change(std::istringstream& words) {
    const NodeId id = node(words);
    std::string kind;
    words >> kind;
    const ChangeKind what = kind == "add_learner" ? ChangeKind::add_learner
                            : kind == "promote"   ? ChangeKind::promote
                                                  : ChangeKind::remove;
    answer(cluster_->change(id, {what, node(words)}));
  }
  void read(std::istringstream& words) {
    const NodeId id = node(words);
    std::uint64_t request = 0;
    words >> request;
    answer(cluster_->read(id, request));
  }
  void transfer(std::istringstream& words) {
    const NodeId id = node(words);
    answer(cluster_->transfer(id, node(words)));
  }
  void crash(std::istringstream& words) { cluster_->crash(node(words)); }
  void unreachable(std::istringstream& words) {
    const NodeId at = node(words);
    cluster_->unreachable(at, node(words));
  }
  void compact(std::istringstream& words) {
    const NodeId id = node(words);
    std::uint64_t index = 0;
    words >> index;
    cluster_->compact(id, Index(index));
  }
  void fetch(std::istringstream& words) {
    const NodeId id = node(words);
    std::string how;
    words >> how;
    cluster_->finish_fetch(id, how != "fail");
  }
  // late NODE: every completion so far is reported once more
  void late(std::istringstream& words) {
    const NodeId id = node(words);
    for (std::size_t i = 0; i < cluster_->node(id).late_marks.size(); ++i) cluster_->repeat_late_mark(id, i);
  }
  void state(std::istringstream&) {
    for (auto& [id, n] : cluster_->nodes()) {
      output_ << (n.core ? describe_state(*n.core) : std::to_string(id.value()) + ": down") << '\n';
    }
  }
  void network(std::istringstream&) {
    for (const Packet& packet : cluster_->network())
      output_ << "in flight " << describe(packet.message) << '\n';
  }

  void print(const Node& n, const Effects& effects) {
    const auto who = [&]() -> std::ostream& { return output_ << n.id.value() << ": "; };
    if (effects.hard_state) {
      who() << "persist term " << effects.hard_state->term.value() << " vote "
            << effects.hard_state->vote.value() << '\n';
    }
    for (const LogWrite& write : effects.log_writes) {
      who() << "write " << to_text(write.kind) << ' ' << write.first.value() << ".." << write.last.value()
            << "/t" << write.term.value();
      if (write.truncate_from != Index(0))
        output_ << " after truncating from " << write.truncate_from.value();
      output_ << '\n';
    }
    for (const Message& message : effects.messages) who() << "send " << describe(message) << '\n';
    if (effects.commit) who() << "commit " << effects.commit->value() << '\n';
    for (const ReadAnswer& read : effects.reads) {
      who() << "read " << read.request << ' ' << esc::to_string(read.code) << " at " << read.index.value()
            << '\n';
    }
    if (effects.configuration)
      who() << "configuration {" << describe(effects.configuration->configuration) << "}\n";
    if (effects.leadership) {
      const LeadershipChange& change = *effects.leadership;
      who() << "term " << change.term.value();
      if (change.stepped_down) output_ << ", stepped down";
      if (change.is_leader) {
        output_ << ", LEADS from no-op " << change.noop_index.value() << '\n';
      } else {
        output_ << ", follows " << change.leader.value() << '\n';
      }
    }
    if (effects.transfer) {
      static constexpr const char* kOutcomes[] = {"done", "timed out", "aborted"};
      who() << "transfer to " << effects.transfer->to.value() << ' '
            << kOutcomes[static_cast<int>(effects.transfer->outcome)] << '\n';
    }
    if (effects.snapshot_request) {
      who() << "fetch snapshot " << effects.snapshot_request->index.value() << " from "
            << effects.snapshot_request->from.value() << '\n';
    }
  }

  std::unique_ptr<Cluster> cluster_;
  std::ostringstream output_;
};

std::vector<std::string> scripts() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(kTestdata)) {
    if (file.path().extension() == ".txt") names.push_back(file.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, transcript_is_unchanged) {
  const std::string path = std::string(kTestdata) + "/" + GetParam() + ".txt";
  std::ostringstream expected;
  expected << std::ifstream(path).rdbuf();
  std::istringstream input(expected.str());
  const std::string actual = Script().run(input);
  if (std::getenv("ESC_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path) << actual;
    return;
  }
  EXPECT_EQ(actual, expected.str()) << "if the change is meant: ESC_UPDATE_GOLDEN=1 and read the diff";
}

INSTANTIATE_TEST_SUITE_P(Raft, Golden, ::testing::ValuesIn(scripts()),
                         [](const auto& script) { return script.param; });

}  // namespace
}  // namespace esc::raft::testing
