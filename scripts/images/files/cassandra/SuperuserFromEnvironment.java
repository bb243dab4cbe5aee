import static org.apache.cassandra.auth.AuthenticatedUser.SYSTEM_USER;

import org.apache.cassandra.auth.CassandraRoleManager;
import org.apache.cassandra.auth.RoleOptions;
import org.apache.cassandra.auth.RoleResource;

/**
 * Makes the first superuser of an empty cluster the one that CQL_USERNAME and CQL_PASSWORD name, as ScyllaDB does by its
 * configuration. Cassandra makes `cassandra` with the password `cassandra` only where there is no role at all.
 */
public final class SuperuserFromEnvironment extends CassandraRoleManager {
    @Override
    public void setup() {
        // Statements that the look-ups below go through.
        loadRoleStatement();
        loadIdentityStatement();
        if (!hasExistingRoles()) {
            RoleOptions options = new RoleOptions();
            options.setOption(Option.SUPERUSER, true);
            options.setOption(Option.LOGIN, true);
            options.setOption(Option.PASSWORD, System.getenv("CQL_PASSWORD"));
            createRole(SYSTEM_USER, RoleResource.role(System.getenv("CQL_USERNAME")), options);
        }
    }
}
