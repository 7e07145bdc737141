from tasks.report.curves import electrons_chart, profile_chart


def test_histogram_leaves_out_positions_without_a_frame(results):
    results["electrons"][:] = 100.0
    results["electrons"][0] = 0.0
    results["frames_present"][0] = 0
    assert (
        "Mean 100 e, standard deviation 0 e; chance alone gives 10 e"
        in electrons_chart(results).note
    )


def test_no_electrons_no_chart(results):
    assert electrons_chart(results.drop_vars("electrons")) is None
    results["frames_present"][:] = 0
    assert electrons_chart(results) is None


def test_profile_names_its_axis_and_unit(results):
    assert ">radius [px]<" in profile_chart("radial", results["radial"]).svg
